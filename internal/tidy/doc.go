// Package tidy holds the rules of the house as tests: which package may import
// which, where each dependency lives, what the domain must not touch, how files are
// kept. A rule that only a person remembers is a rule that is broken soon. Every
// failure says what to do instead.
//
// Sub-packages are the small programs of the Makefile: cover checks the thresholds
// of `make cover`, events writes the catalogue of events.
package tidy

package tidy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are those that the program's modules may have, told by words that only their
// text has. Each lets us ship a binary as long as the text goes with it.
var licences = map[string]*regexp.Regexp{
	"Apache-2.0":    regexp.MustCompile(`Apache License\s+Version 2\.0`),
	"MIT":           regexp.MustCompile(`Permission is hereby granted, free of charge`),
	"BSD":           regexp.MustCompile(`Redistribution and use in source and binary forms`),
	"ISC":           regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software for any purpose`),
	"MPL-2.0":       regexp.MustCompile(`Mozilla Public License,? [vV]ersion 2\.0`),
	"Unlicense":     regexp.MustCompile(`This is free and unencumbered software released into the public domain`),
	"CC0-1.0":       regexp.MustCompile(`CC0 1\.0 Universal`),
	"BlueOak-1.0.0": regexp.MustCompile(`Blue Oak Model License`),
}

// copyleft would bind what is shipped with it.
var copyleft = regexp.MustCompile(`GNU (AFFERO |LESSER )?GENERAL PUBLIC LICENSE|Server Side Public License|Business Source License`)

// What goes into the binary has a licence that allows it.
func TestLicencesAllowShipping(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/hub")
	list.Dir = root
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := slices.Compact(slices.Sorted(strings.Lines(string(output))))
	checked := 0
	for _, line := range modules {
		path, dir, found := strings.Cut(strings.TrimSpace(line), "\t")
		if !found {
			continue
		}
		checked++
		text := licenceText(t, dir)
		known := false
		for _, pattern := range licences {
			known = known || pattern.MatchString(text)
		}
		if !known || copyleft.MatchString(text) && !licences["MIT"].MatchString(text) {
			t.Errorf("%s has no licence that is known to let us ship it. Read it; replace the module, or add the licence to licences here.", path)
		}
	}
	if checked < 20 {
		t.Errorf("only %d modules were looked at: the search is broken", checked)
	}
}

// licenceText is all that a module says of its licence.
func licenceText(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

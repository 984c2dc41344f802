package main

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"testing"
)

func TestTheFingerprintIsOfThisProgram(t *testing.T) {
	t.Parallel()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(program)
	if got := programFingerprint(slog.New(slog.DiscardHandler))(); !bytes.Equal(got, want[:]) {
		t.Errorf("%x, the program is %x", got, want)
	}
}

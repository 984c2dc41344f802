package main

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"sync"
)

// programFingerprint is a hash of this program, whole: whatever may change how events
// are folded changes it, and nobody has to think of it. It takes a tenth of a second and
// begins at once, because the file may be replaced by another version while this runs.
// Nil when the file cannot be read.
func programFingerprint(log *slog.Logger) func() []byte {
	fingerprint := sync.OnceValue(func() []byte {
		sum, err := hashProgram()
		if err != nil {
			log.Warn("this program cannot be read, so that no snapshots of long boundaries are kept", slog.Any("error", err))
		}
		return sum
	})
	go fingerprint()
	return fingerprint
}

func hashProgram() ([]byte, error) {
	file, err := os.Open("/proc/self/exe") // on Linux what runs, whatever its name names now
	if err != nil {
		name, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if file, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}

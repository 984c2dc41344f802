//go:build unix && !linux

package local

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes make a child of its own process group, so that Ctrl-C reaches
// us alone and things stop in order. No other system than Linux can tie a child
// to our death; there the next start stops what was left behind.
func childAttributes(runner account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: runner.credential(), Setpgid: true}
}

// processAt tells the name and working folder of a process; ok is false when
// there is none, or it is none of ours to look at.
func processAt(pid int) (name, folder string, ok bool) {
	comm, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", "", false
	}
	files, err := exec.Command("lsof", "-a", "-p", strconv.Itoa(pid), "-d", "cwd", "-Fn").Output()
	if err != nil {
		return "", "", false
	}
	for line := range strings.Lines(string(files)) {
		if path, found := strings.CutPrefix(strings.TrimSpace(line), "n"); found {
			return filepath.Base(strings.TrimSpace(string(comm))), path, true
		}
	}
	return "", "", false
}

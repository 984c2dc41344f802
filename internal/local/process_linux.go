package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// childAttributes make a child of its own process group, so that Ctrl-C reaches
// us alone and things stop in order, and have the kernel send it onDeath when we
// die, however that happens. The kernel ties this to the thread that started
// the child: see launch.
func childAttributes(runner account, onDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: runner.credential(), Setpgid: true, Pdeathsig: onDeath}
}

// processAt tells the name and working folder of a process; ok is false when
// there is none, or it is none of ours to look at. One that ended and was not
// waited for by its parent has no folder.
func processAt(pid int) (name, folder string, ok bool) {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "", "", false
	}
	folder, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return strings.TrimSpace(string(comm)), folder, err == nil || errors.Is(err, fs.ErrNotExist)
}

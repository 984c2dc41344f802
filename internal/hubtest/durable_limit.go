package hubtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// LimitFiles lets no file of the server grow beyond this size, "unlimited" for any:
// writing on fails as on a full disk, if with another number of the error. Unlike
// mounting a small disk, everybody may do that to processes of their own; for root, to
// whom the database's are not, it is done as the database's user. It needs Linux.
func (d *Durable) LimitFiles(bytes string) {
	d.tb.Helper()
	pidFile := filepath.Join(d.options.DataDir, "data", "postmaster.pid")
	info, err := os.Stat(pidFile)
	if err != nil {
		d.tb.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for _, pid := range d.processes(pidFile) {
		// Only the soft limit, so that it can be raised again.
		limit := exec.Command("prlimit", "--pid", strconv.Itoa(pid), "--fsize="+bytes+":")
		limit.Dir = "/"
		if os.Getuid() == 0 {
			limit.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		}
		output, err := limit.CombinedOutput()
		if _, gone := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil && gone == nil {
			d.tb.Fatalf("limit the files of PostgreSQL: %v: %s", err, output)
		}
	}
}

// processes are the server and its children; what it starts later is limited as it is.
func (d *Durable) processes(pidFile string) []int {
	d.tb.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		d.tb.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	server, err := strconv.Atoi(first)
	if err != nil {
		d.tb.Fatal(err)
	}
	all := []int{server} // first, so that its next children have the limit
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, path := range statuses {
		status, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", server)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // the pattern has digits
			all = append(all, pid)
		}
	}
	return all
}

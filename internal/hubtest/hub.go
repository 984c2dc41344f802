package hubtest

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout only ends a test that has failed: a cold start under the race
// detector's other tests can take tens of seconds.
const startTimeout = 2 * time.Minute

// Hub is a process of the real program.
type Hub struct {
	tb      testing.TB
	command *exec.Cmd
	done    chan struct{}
}

// StartHub runs the program with arguments that make it a server, and waits until it
// says that it runs. It is killed after the test.
func StartHub(tb testing.TB, env []string, arguments ...string) *Hub {
	tb.Helper()
	h := &Hub{tb: tb, command: exec.Command(Binary(tb), arguments...), done: make(chan struct{})}
	h.command.Env = HubEnvironment(env)
	h.command.Stderr = tb.Output()
	output, err := h.command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.command.Start(); err != nil {
		tb.Fatal(err)
	}
	told := make(chan bool, 2)
	go func() {
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "is running") {
				told <- true
			}
		}
		_ = h.command.Wait() // the exit code says it
		told <- false
		close(h.done)
	}()
	tb.Cleanup(func() {
		_ = h.command.Process.Kill() // it may have ended
		<-h.done
	})
	if !Wait(tb, startTimeout, "hub to start", told) {
		tb.Fatalf("hub %v ended instead of starting", arguments)
	}
	return h
}

// HubEnvironment is this process's environment without the tests' own variables,
// which hub would refuse, and with others.
func HubEnvironment(others []string) []string {
	all := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "HUB_") })
	// go test takes GOCOVERDIR for itself.
	return append(append(all, "GOCOVERDIR="+os.Getenv("COVERAGE_OF_PROCESSES")), others...)
}

// Done is closed when the process has ended.
func (h *Hub) Done() <-chan struct{} { return h.done }

// Kill is kill -9.
func (h *Hub) Kill() {
	h.tb.Helper()
	h.Signal(syscall.SIGKILL)
	h.Exit()
}

// Terminate stops the process as an operator does, and returns its exit code.
func (h *Hub) Terminate() int {
	h.tb.Helper()
	h.Signal(syscall.SIGTERM)
	return h.Exit()
}

// Exit waits until the process has ended, and returns its exit code.
func (h *Hub) Exit() int {
	h.tb.Helper()
	Wait(h.tb, startTimeout, "hub to end", h.done)
	return h.command.ProcessState.ExitCode()
}

// Signal sends a signal, as SIGSTOP and SIGCONT.
func (h *Hub) Signal(signal syscall.Signal) {
	h.tb.Helper()
	if err := h.command.Process.Signal(signal); err != nil {
		h.tb.Fatalf("send %v to hub: %v", signal, err)
	}
}

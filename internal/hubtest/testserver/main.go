// Command testserver runs a command, as in
//
//	go run ./internal/hubtest/testserver go test ./...
//
// with one PostgreSQL for all the tests in it, and ends with the command's exit
// code. The server goes with it, whether it ends or is killed.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// parentInterval is how often it is looked whether `go run` is still there. That
// one passes on no signal when it is killed.
const parentInterval = 500 * time.Millisecond

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: testserver COMMAND [ARGUMENT…]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testserver:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(arguments []string) (code int, err error) {
	parent := os.Getppid()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	server, err := hubtest.StartServer()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	command := exec.Command(arguments[0], arguments[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), hubtest.DatabaseVariable+"="+server.URL())
	// The guard is there before the command is: nothing runs that nobody would end.
	group, dismiss, err := guard()
	if err != nil {
		return 1, err
	}
	defer dismiss()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if err := command.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	ticker := time.NewTicker(parentInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case received := <-signals:
			_ = syscall.Kill(-group, received.(syscall.Signal))
		case <-ticker.C:
			if os.Getppid() != parent {
				_ = syscall.Kill(-group, syscall.SIGKILL)
			}
		}
	}
}

// guard makes a process group for the command and all that it starts, and has it
// killed should we be killed ourselves: the group's leader waits for its input to
// end, which it does with us. Of signals passed on to the group it takes none.
func guard() (group int, dismiss func(), err error) {
	leader := exec.Command("/bin/sh", "-c", `trap "" INT TERM HUP; echo; read -r _; kill -KILL 0`)
	leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := leader.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	output, err := leader.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := leader.Start(); err != nil {
		return 0, nil, err
	}
	dismiss = func() {
		_ = leader.Process.Kill() // before its input ends, which would take what the command left running
		_ = leader.Wait()
		_ = input.Close()
	}
	if _, err := output.Read(make([]byte, 1)); err != nil {
		dismiss()
		return 0, nil, fmt.Errorf("the guard of the process group does not start: %w", err)
	}
	return leader.Process.Pid, dismiss, nil
}

// exitCode is the command's own; of one that a signal ended, as shells tell it.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

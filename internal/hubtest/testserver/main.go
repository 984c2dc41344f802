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
	"strconv"
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
	// A group of its own, so that all it started can be reached at once.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return 1, err
	}
	dismiss, err := guard(command.Process.Pid)
	if err != nil {
		return 1, err
	}
	defer dismiss()
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	ticker := time.NewTicker(parentInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case received := <-signals:
			_ = syscall.Kill(-command.Process.Pid, received.(syscall.Signal))
		case <-ticker.C:
			if os.Getppid() != parent {
				_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
			}
		}
	}
}

// guard has a process group killed should we be killed ourselves: a program of
// its own waits for its input to end, which it does with us.
func guard(group int) (dismiss func(), err error) {
	waiter := exec.Command("/bin/sh", "-c", `read -r _; kill -KILL "-$0"`, strconv.Itoa(group))
	waiter.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := waiter.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := waiter.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = waiter.Process.Kill() // before its input ends: the group's number may be another's by now
		_ = waiter.Wait()
		_ = input.Close()
	}, nil
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

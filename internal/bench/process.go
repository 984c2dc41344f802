package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of times in /proc on every Linux.
const ticksPerSecond = 100

// stopTime is how long a child may take to end by itself.
const stopTime = 30 * time.Second

// child is a process of ours. It has a process group of its own, so that Ctrl-C
// reaches only us and all is stopped in order.
type child struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  io.Reader
	done    chan struct{}
	err     error // of the end, set before done is closed
}

// startSelf starts this program again, as what the arguments say.
func startSelf(arguments ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.Command(program, arguments...)
	command.Stderr = os.Stderr
	c := &child{command: command}
	if c.input, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	// Not StdoutPipe, which Wait closes before all was read.
	output, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.output, command.Stdout = output, writer
	err = c.start()
	return c, errors.Join(err, writer.Close())
}

func (c *child) start() error {
	c.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.command.Start(); err != nil {
		return err
	}
	c.done = make(chan struct{})
	go func() {
		c.err = c.command.Wait()
		close(c.done)
	}()
	return nil
}

func (c *child) pid() int { return c.command.Process.Pid }

// stop ends the child: by the end of its input if it reads one, otherwise by
// SIGTERM, and at last by SIGKILL.
func (c *child) stop() {
	if c.input != nil {
		_ = c.input.Close()
	} else {
		_ = c.command.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-c.done:
	case <-time.After(stopTime):
		_ = c.command.Process.Kill()
		<-c.done
	}
}

// process is a line of the system's table of processes.
type process struct {
	pid, parent int
	name        string
	// cpu is what it used, in seconds, and inherited what its children had used
	// when they ended.
	cpu, inherited float64
}

// processes reads that table. It needs Linux.
func processes() ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		return nil, errors.Join(err, errors.New("CPU and memory are read from /proc, which only Linux has"))
	}
	var all []process
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		if p, ok := parseProcess(string(text)); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parseProcess reads /proc/PID/stat (proc_pid_stat(5)).
func parseProcess(stat string) (process, bool) {
	// The name is in brackets and may hold anything.
	opening, closing := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if opening < 0 || closing < opening {
		return process{}, false
	}
	fields := strings.Fields(stat[closing+1:]) // from the third on: state, ppid, …
	if len(fields) < 15 {
		return process{}, false
	}
	var numbers [16]int
	for i := 1; i < 15; i++ {
		numbers[i], _ = strconv.Atoi(fields[i]) // those used are numbers
	}
	pid, err := strconv.Atoi(strings.TrimSpace(stat[:opening]))
	return process{
		pid: pid, parent: numbers[1], name: stat[opening+1 : closing],
		cpu:       float64(numbers[11]+numbers[12]) / ticksPerSecond,
		inherited: float64(numbers[13]+numbers[14]) / ticksPerSecond,
	}, err == nil
}

// tree is a process and its descendants.
func tree(all []process, root int) []process {
	var found []process
	for _, p := range all {
		switch {
		case p.pid == root:
			found = append(found, p)
		case p.parent == root:
			found = append(found, tree(all, p.pid)...)
		}
	}
	return found
}

// postgresOf is the pid of the PostgreSQL that a process started; 0 without one.
func postgresOf(all []process, parent int) int {
	for _, p := range all {
		if p.parent == parent && p.name == "postgres" {
			return p.pid
		}
	}
	return 0
}

// usage is CPU time in seconds since the start of each, read at a time.
type usage struct {
	server, postgres, machine float64
	at                        time.Time
}

// cpuNow reads the CPU time of a server alone, of a PostgreSQL with its backends,
// and of the whole machine. A pid of 0 uses nothing.
func cpuNow(server, postgres int) (usage, error) {
	all, err := processes()
	if err != nil {
		return usage{}, err
	}
	used := usage{at: time.Now()}
	for _, p := range all {
		if p.pid == server {
			used.server = p.cpu
		}
	}
	for _, p := range tree(all, postgres) {
		used.postgres += p.cpu + p.inherited
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for i, field := range strings.Fields(string(line)) {
		// All but the label, idle, iowait, and from steal on (others' time, and guests
		// that user contains already).
		if i == 0 || i == 4 || i == 5 || i > 7 {
			continue
		}
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return usage{}, fmt.Errorf("/proc/stat: %w", err)
		}
		used.machine += float64(ticks) / ticksPerSecond
	}
	return used, nil
}

// memory is the proportional set size of a process and its descendants in bytes:
// pages that several share count once in all.
func memory(root int) (int64, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	var bytes int64
	for _, p := range tree(all, root) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			return 0, err
		}
		_, after, found := strings.Cut(string(text), "\nPss:")
		fields := strings.Fields(after)
		if !found || len(fields) == 0 {
			return 0, fmt.Errorf("process %d tells no Pss", p.pid)
		}
		kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, err
		}
		bytes += kilobytes << 10
	}
	return bytes, nil
}

// freeAddress is an address of this machine that nobody listened on just now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

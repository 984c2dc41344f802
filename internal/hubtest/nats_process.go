package hubtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/reactdjango-hub/backend/internal/local"
)

// natsVariable makes a test binary a NATS server that keeps its streams in the folder
// that it names, until its input ends: see NATSProcess.
const natsVariable = "HUB_TEST_NATS_STORE"

// BrokerProcess is a NATS server in a process of its own, which can be killed. Its
// address stays the same: clients reach it through Proxy.
type BrokerProcess struct {
	StoreDir string
	Proxy    *Proxy

	tb      testing.TB
	command *exec.Cmd
	done    chan struct{}
}

// NATSProcess starts one on an empty store. The package's TestMain must be Main: the
// server is the test binary, started once more.
func NATSProcess(tb testing.TB) *BrokerProcess {
	tb.Helper()
	b := &BrokerProcess{StoreDir: tb.TempDir(), tb: tb, Proxy: NewProxy(tb, "/nowhere")}
	b.Start()
	return b
}

// URL is where clients connect.
func (b *BrokerProcess) URL() string { return "nats://" + b.Proxy.Address() }

// Start is for after Kill, on what is then in StoreDir.
func (b *BrokerProcess) Start() {
	b.tb.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), natsVariable+"="+b.StoreDir)
	command.Stderr = b.tb.Output()
	input, err := command.StdinPipe()
	if err != nil {
		b.tb.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		b.tb.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.tb.Fatal(err)
	}
	done, address := make(chan struct{}), make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n') // empty when it failed
		address <- strings.TrimSpace(strings.TrimPrefix(line, "nats://"))
		_ = command.Wait()
		close(done)
	}()
	b.command, b.done = command, done
	b.tb.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = input.Close()
		<-done
	})
	if target := Wait(b.tb, serverTime, "NATS to start", address); target != "" {
		b.Proxy.Target(target)
		return
	}
	b.tb.Fatal("NATS did not start")
}

// Kill is kill -9.
func (b *BrokerProcess) Kill() {
	b.tb.Helper()
	b.Signal(syscall.SIGKILL)
	Wait(b.tb, serverTime, "NATS to end", b.done)
}

// Signal sends a signal, as SIGSTOP and SIGCONT.
func (b *BrokerProcess) Signal(signal syscall.Signal) {
	b.tb.Helper()
	if err := b.command.Process.Signal(signal); err != nil {
		b.tb.Fatalf("send %v to NATS: %v", signal, err)
	}
}

// LimitFiles lets no file of the server grow beyond this size: see Durable.LimitFiles.
func (b *BrokerProcess) LimitFiles(bytes string) {
	b.tb.Helper()
	output, err := exec.Command("prlimit", "--pid", strconv.Itoa(b.command.Process.Pid), "--fsize="+bytes+":").CombinedOutput()
	if err != nil {
		b.tb.Fatalf("limit the files of NATS: %v: %s", err, output)
	}
}

// serveNATS is the other side of NATSProcess.
func serveNATS(store string) int {
	signal.Ignore(syscall.SIGXFSZ) // a file that may not grow is an error, as on a full disk
	server, err := local.StartNATS(local.NATSOptions{StoreDir: store, ListenAddr: "127.0.0.1:0"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, server.URL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until who started us is gone
	server.Stop()
	return 0
}

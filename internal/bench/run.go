package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// sample is one run of one scenario.
type sample struct {
	loadResult
	// CPU in microseconds an operation.
	server, postgres, client float64
	// foreign is how many cores others kept busy meanwhile.
	foreign float64
	// undisturbed is the p99 to hold against that of read-rebuild.
	undisturbed time.Duration
}

func (s sample) rate() float64 { return float64(s.Operations) / s.Duration.Seconds() }

func newSample(result loadResult, before, after usage) sample {
	s := sample{loadResult: result}
	server, postgres := after.server-before.server, after.postgres-before.postgres
	if n := float64(result.Operations); n > 0 {
		s.server, s.postgres, s.client = server*1e6/n, postgres*1e6/n, result.CPUSeconds*1e6/n
	}
	own := server + postgres + result.CPUSeconds
	s.foreign = max(0, (after.machine-before.machine-own)/after.at.Sub(before.at).Seconds())
	return s
}

// bare runs a yardstick: a bare server, loaded.
func (b *bench) bare(ctx context.Context, kind, work string) (sample, error) {
	if err := b.database.empty(ctx); err != nil {
		return sample{}, err
	}
	server, err := startSelf("serve", kind, b.database.url)
	if err != nil {
		return sample{}, err
	}
	defer server.stop()
	address, err := bufio.NewReader(server.output).ReadString('\n')
	if err != nil {
		return sample{}, fmt.Errorf("the server %s did not start: %w", kind, err)
	}
	spec := b.spec(work, address[:len(address)-1])
	spec.IDs = b.database.ids
	return b.load(ctx, kind, spec, server.pid(), b.database.pid)
}

// insert is yardstick A.
func (b *bench) insert(ctx context.Context, clients int) (sample, error) {
	if err := b.database.empty(ctx); err != nil {
		return sample{}, err
	}
	s, installed, err := b.pgbench(ctx, clients)
	if installed || err != nil {
		return s, err
	}
	b.notef("pgbench is not beside the PostgreSQL in use: A was made with pgx in its place.")
	spec := b.spec("insert", "")
	spec.Database, spec.Connections = b.database.url, clients
	return b.load(ctx, "insert", spec, 0, b.database.pid)
}

// onHub loads the hub. It begins with a view that has caught up.
func (b *bench) onHub(ctx context.Context, work string, change func(*loadSpec)) (sample, error) {
	if err := b.hub.settle(ctx); err != nil {
		return sample{}, err
	}
	spec := b.spec(work, b.hub.address)
	spec.Token, spec.IDs = b.hub.token, b.hub.ids
	if change != nil {
		change(&spec)
	}
	return b.load(ctx, work, spec, b.hub.process.pid(), b.hub.postgres)
}

func (b *bench) spec(work, address string) loadSpec {
	b.runs++
	return loadSpec{
		Work: work, Address: address, Connections: b.connections,
		WarmUp: b.warmUp, Duration: b.duration, Run: fmt.Sprintf("run%d", b.runs), Airports: airportsFile,
	}
}

// load runs a load child and reads the CPU time of server and PostgreSQL when it
// says that the measured time begins and ends.
func (b *bench) load(ctx context.Context, name string, spec loadSpec, server, postgres int) (sample, error) {
	c, err := startSelf("load")
	if err != nil {
		return sample{}, err
	}
	defer c.stop()
	defer context.AfterFunc(ctx, func() { _ = c.command.Process.Kill() })()
	if err := errors.Join(json.NewEncoder(c.input).Encode(spec), c.input.Close()); err != nil {
		return sample{}, err
	}
	output := bufio.NewReader(c.output)
	var used [2]usage
	for i, wanted := range []string{beginLine, endLine} {
		line, err := output.ReadString('\n')
		if err != nil || line != wanted+"\n" {
			return sample{}, fmt.Errorf("the load %s ended early: %w", name, errors.Join(err, ctx.Err()))
		}
		if used[i], err = cpuNow(server, postgres); err != nil {
			return sample{}, err
		}
		if i == 0 {
			b.record(ctx, name)
		}
	}
	var result loadResult
	if err := json.NewDecoder(output).Decode(&result); err != nil {
		return sample{}, fmt.Errorf("the load %s gave no result: %w", name, errors.Join(err, ctx.Err()))
	}
	return newSample(result, used[0], used[1]), nil
}

// record has perf sample the whole machine during the measured time, into a file
// per scenario: `perf report -i FILE --sort comm,symbol`.
func (b *bench) record(ctx context.Context, name string) {
	if b.perf == "" {
		return
	}
	command := exec.CommandContext(ctx, "perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", "499",
		"-o", filepath.Join(b.perf, name+".data"), "--", "sleep", fmt.Sprintf("%.1f", b.duration.Seconds()))
	b.recording.Go(func() {
		if output, err := command.CombinedOutput(); err != nil {
			b.notef("perf: %v: %s", err, output)
		}
	})
}

// starts measures cold and warm starts, and the memory of an idle hub.
func (b *bench) starts(ctx context.Context) (started, error) {
	var s started
	for range b.rounds {
		dir := filepath.Join(b.dir, fmt.Sprintf("start%d", len(s.cold)))
		for _, took := range []*[]float64{&s.cold, &s.warm} {
			h, time, err := startHub(ctx, b.program, dir)
			if err != nil {
				return s, err
			}
			*took = append(*took, time.Seconds())
			if took == &s.warm {
				err = b.idle(ctx, h, &s)
			}
			h.process.stop()
			if err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// started holds a figure for each round.
type started struct{ cold, warm, megabytes, idleCPU []float64 }

// idleTime lets what follows a start end before memory is read.
const idleTime = 5 * time.Second

func (b *bench) idle(ctx context.Context, h *hub, s *started) error {
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	all, err := processes()
	if err != nil {
		return err
	}
	h.postgres = postgresOf(all, h.process.pid())
	before, err := cpuNow(h.process.pid(), h.postgres)
	if err != nil {
		return err
	}
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	after, err := cpuNow(h.process.pid(), h.postgres)
	if err != nil {
		return err
	}
	bytes, err := memory(h.process.pid())
	if err != nil {
		return err
	}
	s.megabytes = append(s.megabytes, float64(bytes)/1e6)
	s.idleCPU = append(s.idleCPU, (after.server+after.postgres-before.server-before.postgres)/idleTime.Seconds())
	return nil
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func machine() string { return fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.Version()) }

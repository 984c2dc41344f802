package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loadSpec is what a load child gets on its standard input.
type loadSpec struct {
	// Work is create, patch, read, get, send, mixed, visible (create, then read what was created), one
	// of the writer's, or insert (the yardstick A where there is no pgbench).
	Work        string
	Address     string
	Database    string // for insert and the writer's
	Token       string
	Connections int
	WarmUp      time.Duration
	Duration    time.Duration
	// Rate is how many operations a second are begun, whatever the answers do; 0
	// begins the next when the last was answered.
	Rate float64
	IDs  []string
	// Paths are asked for in turn by get.
	Paths []string
	// Path takes Bodies, in turn, by send.
	Path   string
	Bodies []string
	// Commands is how many an operation does at once; 0 is one.
	Commands int
	Run      string
	Airports string
	// Lag asks for the greatest age of a receipt that a read did not show.
	Lag bool
}

// loadResult is what it writes when it is done. Times are of operations that ended
// within the measured time; visible counts from the receipt.
type loadResult struct {
	Operations    int
	Duration      time.Duration
	P50, P99, Max time.Duration
	// P95 is of requests over HTTP only.
	P95        time.Duration
	CPUSeconds float64
	Errors     int
	FirstError string
	// Created are ids of some entities that were created.
	Created []string
	MaxLag  time.Duration
	// Late counts operations of a paced load that began more than 10 ms late.
	Late int
}

// The lines by which a load child tells when the measured time begins and ends.
const (
	beginLine = "begin"
	endLine   = "end"
)

const (
	// maxKeptIDs is how many entities are read in turn: enough that they are not all
	// in one page of the table.
	maxKeptIDs = 2000
	// drainTime is how long answers may take after the end.
	drainTime = 30 * time.Second
)

// load is one run of a load child.
type load struct {
	spec     loadSpec
	requests *requests
	begin    time.Time // of the measured time
	end      time.Time
	begun    atomic.Int64 // operations, for pacing
	receipts receipts
	// writer is for work on the log without HTTP, nil otherwise.
	writer *writer
}

// operation does one thing and tells how long it took.
type operation func() (time.Duration, error)

// worker is what one connection found out.
type worker struct {
	times   []time.Duration
	created []string
	errors  int
	first   error
	late    int
}

// runLoad is the load child: a specification in, lines and a result out.
func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var spec loadSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	prepared, err := newRequests(spec)
	if err != nil {
		return err
	}
	l := &load{spec: spec, requests: prepared}
	if spec.Database != "" && spec.Work != "insert" {
		debug.SetGCPercent(writerGCPercent)
		if l.writer, err = openWriter(ctx, spec, prepared.airports); err != nil {
			return err
		}
		defer l.writer.stop()
	}
	start := time.Now()
	l.begin, l.end = start.Add(spec.WarmUp), start.Add(spec.WarmUp+spec.Duration)
	workers := make([]worker, spec.Connections)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { l.work(ctx, start, &workers[i]) })
	}
	lag := make(chan lagResult, 1)
	if spec.Lag {
		go func() { lag <- l.watchLag() }()
	}
	time.Sleep(time.Until(l.begin))
	cpu := ownCPU()
	fmt.Fprintln(out, beginLine)
	time.Sleep(time.Until(l.end))
	cpu = ownCPU() - cpu
	fmt.Fprintln(out, endLine)
	all.Wait()
	result := l.sum(workers)
	result.CPUSeconds = cpu
	if spec.Lag {
		found := <-lag
		result.MaxLag = found.longest
		if found.err != nil {
			result.Errors++
			result.FirstError = "watching the lag: " + found.err.Error()
		}
	}
	return json.NewEncoder(out).Encode(result)
}

// work repeats the operation on one connection until the end.
func (l *load) work(ctx context.Context, start time.Time, w *worker) {
	do, closing, err := l.operation(ctx, w)
	if err != nil {
		w.fail(err)
		return
	}
	defer closing()
	for ctx.Err() == nil {
		if l.spec.Rate > 0 {
			due := start.Add(time.Duration(float64(l.begun.Add(1)) / l.spec.Rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			if time.Since(due) > 10*time.Millisecond && due.After(l.begin) {
				w.late++
			}
		}
		if !time.Now().Before(l.end) {
			return
		}
		took, err := do()
		if err != nil {
			w.fail(err)
			if refused := (statusError{}); !errors.As(err, &refused) {
				return // the connection is of no more use
			}
			continue
		}
		if now := time.Now(); now.After(l.begin) && !now.After(l.end) {
			w.times = append(w.times, took)
		}
	}
}

func (w *worker) fail(err error) {
	w.errors++
	if w.first == nil {
		w.first = err
	}
}

// statusError is an answer that is not 2xx.
type statusError struct {
	status int
	body   string
}

func (e statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// operation makes what a worker repeats.
func (l *load) operation(ctx context.Context, w *worker) (do operation, closing func(), err error) {
	if l.writer != nil {
		do, err = l.writer.operation(ctx)
		return do, func() {}, err
	}
	if l.spec.Work == "insert" {
		return l.inserting(ctx)
	}
	c, err := dial(l.spec.Address, l.end.Add(drainTime))
	if err != nil {
		return nil, nil, err
	}
	switch l.spec.Work {
	case "create":
		do = l.sending(c, w, l.requests.create)
	case "patch":
		do = l.sending(c, w, l.requests.patch)
	case "change":
		do = l.sending(c, w, l.requests.change)
	case "read":
		do = l.sending(c, w, l.requests.read)
	case "get":
		do = l.sending(c, w, l.requests.get)
	case "send":
		do = l.sending(c, w, l.requests.send)
	case "mixed":
		do = l.sending(c, w, l.requests.mixed)
	case "visible":
		do = l.creatingAndReading(c)
	default:
		return nil, nil, fmt.Errorf("there is no work %q", l.spec.Work)
	}
	return do, c.close, nil
}

func (l *load) sending(c *connection, w *worker, prepare func([]byte) []byte) operation {
	var request []byte
	return func() (time.Duration, error) {
		request = prepare(request)
		began := time.Now()
		a, err := l.send(c, request)
		took := time.Since(began)
		if err != nil {
			return 0, err
		}
		w.keep(a.location)
		if l.spec.Lag {
			l.receipts.reached(a.position)
		}
		return took, nil
	}
}

// creatingAndReading measures from the receipt to an answer that shows it.
func (l *load) creatingAndReading(c *connection) operation {
	var request []byte
	return func() (time.Duration, error) {
		request = l.requests.create(request)
		a, err := l.send(c, request)
		if err != nil {
			return 0, err
		}
		received := time.Now()
		request = l.requests.readAt(request, a.location, a.position)
		if _, err := l.send(c, request); err != nil {
			return 0, err
		}
		return time.Since(received), nil
	}
}

func (l *load) send(c *connection, request []byte) (*answer, error) {
	a, err := c.do(request)
	if err != nil {
		return nil, err
	}
	if a.status < 200 || a.status > 299 {
		return nil, statusError{a.status, string(a.body[:min(len(a.body), 300)])}
	}
	return a, nil
}

// keep notes an id, the last part of a location.
func (w *worker) keep(location []byte) {
	if len(location) > 0 && len(w.created) < maxKeptIDs {
		w.created = append(w.created, path.Base(string(location)))
	}
}

// sum puts together what the workers found.
func (l *load) sum(workers []worker) loadResult {
	result := loadResult{Duration: l.spec.Duration}
	var times []time.Duration
	for _, w := range workers {
		times = append(times, w.times...)
		result.Created = append(result.Created, w.created...)
		result.Late += w.late
		result.Errors += w.errors
		if w.first != nil {
			result.FirstError = w.first.Error()
		}
	}
	result.Created = result.Created[:min(len(result.Created), maxKeptIDs)]
	result.Operations = len(times) * max(l.spec.Commands, 1)
	result.P50, result.P99, result.Max = quantiles(times)
	if len(times) > 0 {
		result.P95 = times[int(0.95*float64(len(times)-1)+0.5)] // quantiles has sorted them
	}
	return result
}

// quantiles are the nearest ranks; zeros for nothing.
func quantiles(times []time.Duration) (p50, p99, longest time.Duration) {
	if len(times) == 0 {
		return 0, 0, 0
	}
	slices.Sort(times)
	at := func(share float64) time.Duration { return times[int(share*float64(len(times)-1)+0.5)] }
	return at(0.5), at(0.99), times[len(times)-1]
}

// ownCPU is the CPU time of this process in seconds.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

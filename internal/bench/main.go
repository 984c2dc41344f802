// Command bench measures the hub side by side with the least that could do its job:
// yardsticks on a PostgreSQL of the same settings, in the same run, with the same
// client. `make bench` runs it; docs/performance.md says how to read its figures.
//
//	bench ──┬─ private PostgreSQL ◀── pgbench (A), bare servers (B, C, D)
//	        ├─ hub dev (with its own PostgreSQL)        ▲
//	        └─ load ────── HTTP/1.1, 64 connections ────┘
//
// Every box is a process of its own, so that CPU time is told apart. It needs Linux
// (/proc) and is started in the project's folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

const airportsFile = "testdata/airports.csv"

// maxSeconds bounds a run: the load keeps the time of every operation.
const maxSeconds = 600

// bench is one run of the program.
type bench struct {
	dir, program     string
	duration, warmUp time.Duration
	rounds           int
	connections      int
	hold             time.Duration
	grown            int
	perf             string
	recording        sync.WaitGroup

	database *database
	hub      *hub
	runs     int
	// events are those of the log that cold builds a view from.
	events int
	views  *views
	// entities are those of the catalogue.
	entities  int
	catalogue *catalogue
	books     books
	// readP99 is that of the latest run of read.
	readP99 time.Duration
	// grownAddress is that of the log that was filled, once it was.
	grownAddress string
	// commandRate is the latest of the scenario commands.
	commandRate float64
	notesMutex  sync.Mutex
	notes       []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only gives signals back
	}
}

// dispatch runs the benchmark, or the part of it that a child is started for.
func dispatch(ctx context.Context, arguments []string) error {
	if len(arguments) > 0 && arguments[0] == "load" {
		return runLoad(ctx, os.Stdin, os.Stdout)
	}
	if len(arguments) == 3 && arguments[0] == "serve" {
		return serveBare(ctx, arguments[1], arguments[2], os.Stdin, os.Stdout)
	}
	var b bench
	seconds := flag.Float64("seconds", 10, "length of a run")
	flag.IntVar(&b.rounds, "rounds", 3, "how often all is run; the median counts")
	flag.IntVar(&b.connections, "connections", 64, "connections of the client")
	only := flag.String("only", "", "scenarios to run, a regular expression; what they are set against runs too")
	markdown := flag.Bool("markdown", false, "write the table as Markdown")
	flag.DurationVar(&b.hold, "hold", defaultHold, "how long an old snapshot is held for store-snapshot")
	flag.IntVar(&b.grown, "grown", defaultGrown, "events in the log of store-grown; two gigabytes a million")
	flag.IntVar(&b.events, "events", defaultEvents, "events in the log that cold builds a view from")
	flag.IntVar(&b.entities, "entities", defaultEntities, "entities that are read and searched among; two gigabytes a million")
	flag.StringVar(&b.perf, "perf", "", "folder for profiles by Linux perf, one a scenario; costs some of the rate")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil || *seconds <= 0 || *seconds > maxSeconds || b.rounds < 1 || b.connections < 1 || b.grown < 1 || b.events < 1 || b.entities < 1000 || b.hold > maxSeconds*time.Second {
		return errors.Join(err, errors.New("see -help"))
	}
	b.duration = time.Duration(*seconds * float64(time.Second))
	b.warmUp = min(max(b.duration/10, time.Second), 3*time.Second)
	return b.run(ctx, chosen, *markdown)
}

func (b *bench) run(ctx context.Context, only *regexp.Regexp, markdown bool) (err error) {
	if b.dir, err = os.MkdirTemp("", "hub-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	// As root the database runs as another user, who must get in.
	if err := os.Chmod(b.dir, 0o711); err != nil { //nolint:gosec // nothing can be listed
		return err
	}
	defer b.recording.Wait()
	chosen, withStart := choose(only), only.MatchString(start)
	if len(chosen) == 0 && !withStart {
		return fmt.Errorf("no scenario matches %q", only)
	}
	defer b.close()
	if err := b.open(ctx, chosen, withStart); err != nil {
		return err
	}
	var rows [][]string
	runs, err := b.rounded(ctx, chosen)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		rows = append(rows, row(s, runs))
	}
	if withStart {
		b.close()
		figures, err := b.starts(ctx)
		if err != nil {
			return err
		}
		rows = append(rows, figures.rows()...)
	}
	fmt.Printf("%s, %s, %d runs of %v, %d connections\n\n", time.Now().UTC().Format(time.DateOnly), machine(), b.rounds, b.duration, b.connections)
	if err := write(os.Stdout, markdown, rows); err != nil {
		return err
	}
	for _, note := range b.notes {
		fmt.Println("\nNote:", note)
	}
	return invalid(runs)
}

// open starts what the scenarios need.
func (b *bench) open(ctx context.Context, chosen []scenario, withStart bool) error {
	airports, err := readAirports(airportsFile)
	if err != nil {
		return err
	}
	needsHub := withStart
	for _, s := range chosen {
		needsHub = needsHub || s.needsHub
	}
	if needsHub {
		b.program = filepath.Join(b.dir, "hub")
		if err := buildHub(ctx, b.program); err != nil {
			return err
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	if b.database, err = startDatabase(ctx, filepath.Join(b.dir, "yardsticks"), airports); err != nil {
		return err
	}
	if !needsHub {
		return nil
	}
	if b.hub, _, err = startHub(ctx, b.program, filepath.Join(b.dir, "hub-dev")); err != nil {
		return err
	}
	if err := b.hub.prepare(ctx); err != nil {
		return err
	}
	if err := b.hub.sameSettings(ctx, b.database.url); err != nil {
		return err
	}
	return b.seed(ctx)
}

// seed makes the entities that are read and changed, and warms up the hub.
func (b *bench) seed(ctx context.Context) error {
	duration := b.duration
	defer func() { b.duration = duration }()
	b.duration = 2 * time.Second
	s, err := b.load(ctx, "seed", func() loadSpec {
		spec := b.spec("create", b.hub.address)
		spec.Token = b.hub.token
		return spec
	}(), b.hub.process.pid(), b.hub.postgres)
	if err == nil && (s.Errors > 0 || len(s.Created) == 0) {
		err = fmt.Errorf("creating the first entities: %d errors, such as: %s", s.Errors, s.FirstError)
	}
	b.hub.ids = s.Created
	return err
}

// rounded runs all scenarios in turn, as often as there are rounds, so that a drift
// of the machine falls on all alike.
func (b *bench) rounded(ctx context.Context, chosen []scenario) (map[string][]sample, error) {
	runs := make(map[string][]sample)
	for round := range b.rounds {
		for _, s := range chosen {
			result, err := s.run(ctx, b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			runs[s.name] = append(runs[s.name], result)
			fmt.Fprintf(os.Stderr, "round %d  %-10s %8s/s  p50 %s  p99 %s  max %s ms  µs/op %.0f+%.0f+%.0f  others %.2f  lag %v  errors %d %s\n",
				round+1, s.name, thousands(result.rate()), milliseconds(result.P50), milliseconds(result.P99), milliseconds(result.Max),
				result.server, result.postgres, result.client, result.foreign, result.MaxLag.Round(time.Millisecond), result.Errors, result.FirstError)
			if result.Late > result.Operations/100 {
				b.notef("%s: %d of %d operations began more than 10 ms late; its rate was not held.", s.name, result.Late, result.Operations)
			}
		}
	}
	return runs, nil
}

// invalid is the error of runs that had any: what was refused was not measured.
func invalid(runs map[string][]sample) (err error) {
	for name, own := range runs {
		for _, s := range own {
			if s.Errors > 0 {
				err = errors.Join(err, fmt.Errorf("%s is not valid: %d errors, such as: %s", name, s.Errors, s.FirstError))
			}
		}
	}
	return err
}

func (b *bench) notef(format string, arguments ...any) {
	b.notesMutex.Lock()
	defer b.notesMutex.Unlock()
	if note := fmt.Sprintf(format, arguments...); !slices.Contains(b.notes, note) {
		b.notes = append(b.notes, note)
	}
}

// close stops what was started.
func (b *bench) close() {
	if b.catalogue != nil {
		b.catalogue.stop()
		b.catalogue = nil
	}
	if b.hub != nil {
		b.hub.process.stop()
		b.hub = nil
	}
	if b.views != nil {
		b.views.close()
		b.views = nil
	}
	if b.database != nil {
		b.database.stop()
		b.database = nil
	}
}

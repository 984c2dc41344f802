// Command mutate changes a package in one place at a time and runs the package's own tests
// on each change. A change that no test notices is a rule that nobody holds: the command
// fails. Where no test could notice it, the code can be simpler.
//
//	go run ./internal/tidy/mutate ./domain/ledger
//
// Changed are comparisons, logic and arithmetic, conditions, truth values, whole numbers by
// one, and statements, which are left out. All changes are compiled into one test binary, and
// an environment variable tells it which of them to be: so a change costs one run of the tests
// and no build, and what stands in the cases of a switch is changed too, which tools that go
// by the coverage of statements leave out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// variable names the environment variable with the number of the change to make.
const variable = "MUTANT"

// Bounds on one run of the tests. Changes that make a loop endless are ended by the first, or
// before they fill the memory by the second.
const (
	runTime        = time.Minute
	memoryKilobyte = 4 << 20
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mutate PACKAGE")
		os.Exit(2)
	}
	if err := mutate(context.Background(), os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// mutate tests every change of a package and reports those that nobody noticed.
func mutate(ctx context.Context, w io.Writer, pkg string) error {
	work, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := allRun(ctx, pkg, filepath.Join(work, "cover.out")); err != nil {
		return err
	}
	p, err := load(ctx, pkg)
	if err != nil {
		return err
	}
	mutants, err := p.plant(work)
	if err != nil {
		return err
	}
	binary := filepath.Join(work, "mutated.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(work, "overlay.json"), "-o", binary, pkg)
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the changed package: %w\n%s", err, said)
	}
	tests := tests{binary: binary, dir: p.Dir}
	if noticed, said := tests.notice(ctx, 0); noticed {
		return fmt.Errorf("the tests fail without any change:\n%s", said)
	}
	return report(w, mutants, tests.unnoticed(ctx, mutants))
}

// allRun checks that the package's own tests run all of its statements: what is not run
// cannot be noticed.
func allRun(ctx context.Context, pkg, profile string) error {
	cover := exec.CommandContext(ctx, "go", "test", "-count=1", "-coverprofile", profile, pkg)
	if said, err := cover.CombinedOutput(); err != nil {
		return fmt.Errorf("the tests fail without any change: %w\n%s", err, said)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return err
	}
	var never []error
	for line := range strings.Lines(string(text)) {
		if place, found := strings.CutSuffix(line, " 0\n"); found {
			never = append(never, errors.New("  "+place))
		}
	}
	if len(never) > 0 {
		return fmt.Errorf("no test of the package runs these statements:\n%w", errors.Join(never...))
	}
	return nil
}

// tests is the test binary and the folder it runs in.
type tests struct{ binary, dir string }

// unnoticed runs the tests on each change and returns those that they let through, in order.
func (t tests) unnoticed(ctx context.Context, mutants []mutant) []mutant {
	lived := make([]bool, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for i := range next {
				noticed, _ := t.notice(ctx, mutants[i].number)
				lived[i] = !noticed
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	workers.Wait()
	var all []mutant
	for i, m := range mutants {
		if lived[i] {
			all = append(all, m)
		}
	}
	return all
}

// notice runs the tests on a change and reports whether they fail.
func (t tests) notice(ctx context.Context, number int) (bool, []byte) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	script := fmt.Sprintf(`ulimit -v %d; exec "$0" -test.failfast`, memoryKilobyte)
	run := exec.CommandContext(ctx, "sh", "-c", script, t.binary)
	run.Dir = t.dir
	// What rapid finds is not to be made smaller, nor kept, and is found soon or by another
	// test; with one seed, so that the same code comes to the same.
	run.Env = append(os.Environ(), variable+"="+strconv.Itoa(number), "RAPID_NOFAILFILE=true", "RAPID_SHRINKTIME=0s", "RAPID_CHECKS=20", "RAPID_SEED=1")
	said, err := run.CombinedOutput()
	return err != nil, said
}

// report says how many changes were noticed, and fails with those that were not.
func report(w io.Writer, all, lived []mutant) error {
	fmt.Fprintf(w, "%d changes, %d of them noticed\n", len(all), len(all)-len(lived))
	if len(lived) == 0 {
		return nil
	}
	var text strings.Builder
	for _, m := range lived {
		fmt.Fprintf(&text, "\n  %s:%d: %s", m.file, m.line, m.change())
	}
	return errors.New("no test of the package notices these changes:" + text.String())
}

// writeOverlay says for go build which files are to be read in place of which.
func writeOverlay(work string, replaced map[string]string) error {
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, "overlay.json"), text, 0o600)
}

// shortened is source on one line, with a bound that a list can show.
func shortened(source string) string {
	text := strings.Join(strings.Fields(source), " ")
	if runes := []rune(text); len(runes) > 120 {
		return string(runes[:120]) + "…"
	}
	return text
}

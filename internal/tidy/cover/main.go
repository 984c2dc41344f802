// Command cover reads a coverage profile and holds it to the thresholds of the
// house: so much of all statements, and all of those of the domain's areas.
//
//	go run ./internal/tidy/cover cover.out
package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/reactdjango-hub/backend/"

// threshold is the least share of statements that tests must run, in per cent.
type threshold struct {
	prefix  string
	percent float64
}

// thresholds: pure code has no excuse; elsewhere the rest is answers to failures of
// the machine that no test can cause.
var thresholds = []threshold{
	{"", 85},
	{"domain/entity/", 100},
	{"domain/ledger/", 100},
}

// uncounted are programs around the tests: nothing of them is in the product.
var uncounted = []string{"internal/bench/", "internal/hubtest/", "internal/tidy/", "domain/domaintest/"}

// listed is how many uncovered blocks are printed at most.
const listed = 40

// block is a run of statements; the profile has it once for each test binary.
type block struct {
	place      string // file:line.column,line.column
	statements int
	covered    bool
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cover PROFILE")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

func check(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	blocks, err := parse(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return report(os.Stdout, blocks)
}

// parse merges the blocks of a profile, in the order of files and lines.
func parse(profile io.Reader) ([]block, error) {
	merged := map[string]block{}
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), module)
		if strings.HasPrefix(line, "mode:") || slices.ContainsFunc(uncounted, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("not a line of a coverage profile: %q", line)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("not a line of a coverage profile: %q", line)
		}
		merged[fields[0]] = block{place: fields[0], statements: statements, covered: merged[fields[0]].covered || fields[2] != "0"}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var blocks []block
	for _, b := range merged {
		blocks = append(blocks, b)
	}
	slices.SortFunc(blocks, func(a, b block) int {
		fileA, fromA := position(a.place)
		fileB, fromB := position(b.place)
		return cmp.Or(strings.Compare(fileA, fileB), cmp.Compare(fromA, fromB))
	})
	return blocks, nil
}

// position splits file:line.column,… into file and line.
func position(place string) (file string, line int) {
	file, rest, _ := strings.Cut(place, ":")
	number, _, _ := strings.Cut(rest, ".")
	line, _ = strconv.Atoi(number) // 0 sorts first
	return file, line
}

// report prints a line for each package and what each missed threshold lacks.
func report(w io.Writer, blocks []block) error {
	var packages []string
	for _, b := range blocks {
		file, _ := position(b.place)
		folder := file[:strings.LastIndex(file, "/")+1]
		if !slices.Contains(packages, folder) {
			packages = append(packages, folder)
		}
	}
	for _, folder := range packages {
		percent := share(blocks, func(file string) bool { return file[:strings.LastIndex(file, "/")+1] == folder })
		fmt.Fprintf(w, "%6.1f %%  %s\n", percent, strings.TrimSuffix(folder, "/"))
	}
	var missed []error
	for _, t := range thresholds {
		under := func(file string) bool { return strings.HasPrefix(file, t.prefix) }
		percent := share(blocks, under)
		fmt.Fprintf(w, "%6.1f %%  %s (at least %g %%)\n", percent, cmp.Or(t.prefix, "all"), t.percent)
		if percent < t.percent {
			missed = append(missed, fmt.Errorf("%s has %.2f %% of its statements run by tests, less than %g %%:\n%s",
				cmp.Or(t.prefix, "the whole"), percent, t.percent, uncovered(blocks, under)))
		}
	}
	return errors.Join(missed...)
}

func share(blocks []block, in func(file string) bool) float64 {
	all, covered := 0, 0
	for _, b := range blocks {
		if file, _ := position(b.place); in(file) {
			all += b.statements
			if b.covered {
				covered += b.statements
			}
		}
	}
	if all == 0 {
		return 100
	}
	return 100 * float64(covered) / float64(all)
}

// uncovered lists the largest blocks that no test runs.
func uncovered(blocks []block, in func(file string) bool) string {
	var missing []block
	for _, b := range blocks {
		if file, _ := position(b.place); in(file) && !b.covered {
			missing = append(missing, b)
		}
	}
	slices.SortStableFunc(missing, func(a, b block) int { return cmp.Compare(b.statements, a.statements) })
	var text strings.Builder
	for _, b := range missing[:min(len(missing), listed)] {
		file, line := position(b.place)
		fmt.Fprintf(&text, "  %s:%d  %d statements\n", file, line, b.statements)
	}
	return text.String()
}

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// scenario is a row of the table.
type scenario struct {
	name  string
	about string
	// against is the scenario of the same round that the rate is divided by, and
	// atLeast the goal for that; 0 is no goal.
	against string
	atLeast float64
	// also are goals beside that.
	also []goal
	// cpuWithin is how much more CPU an operation may cost than one of against; 0 is
	// no goal.
	cpuWithin float64
	// needsHub says that `hub dev` must run; the others need the yardsticks' database.
	needsHub bool
	run      func(context.Context, *bench) (sample, error)
	// verdict judges what is not a ratio, over all rounds: a goal in words and
	// whether it is met.
	verdict func([]sample) (goal string, met bool)
}

// goal is a least ratio to the rate of another scenario.
type goal struct {
	against string
	atLeast float64
}

// Goals that are times.
const (
	maxLagSeconds  = 1.0
	maxVisibleP50  = 0.010
	maxVisibleP99  = 0.050
	maxLiveP50     = 0.005
	maxLiveP99     = 0.025
	maxColdSeconds = 10.0
	maxWarmSeconds = 2.0
	maxMegabytes   = 300.0
	// quietShare and busyShare are the parts of the greatest rate at which it is
	// measured when a command is visible.
	quietShare = 0.25
	busyShare  = 0.5
)

// start is the name, for -only, of the figures that are not loads.
const start = "start"

func scenarios() []scenario {
	return append([]scenario{
		{name: "A16", about: "pgbench, one INSERT a transaction, 16 clients",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.insert(ctx, 16) }},
		{name: "A64", about: "the same, 64 clients",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.insert(ctx, 64) }},
		{name: "B", about: "bare server, one INSERT a request, pool of 12",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.bare(ctx, "insert", "create") }},
		{name: "C", about: "bare server, gathers requests into one INSERT",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.bare(ctx, "gather", "create") }},
		{name: "D", about: "bare server, one SELECT by key a request, pool of 8",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.bare(ctx, "select", "read") }},
		{name: "commands", about: "POST /entities, distinct entities", against: "B", atLeast: 1.5, needsHub: true,
			also: []goal{{"B", 2}, {"C", 0.5}}, run: runCommands, verdict: viewKeepsUp},
		{name: "one-entity", about: "PATCH of one and the same entity", against: "commands", atLeast: 0.7, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onHub(ctx, "patch", nil) }},
		{name: "read", about: "GET /entities/{id}", against: "D", atLeast: 0.6, needsHub: true,
			run: runReads},
		{name: "read-rebuild", about: "the same while the view is built anew, again and again", against: "read", needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.readsMeanwhile(ctx) }, verdict: hardlyDisturbed},
		{name: "upserts", about: "rows of a view in statements of a thousand, one connection",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.upserts(ctx) }},
		{name: "cold", about: "a view built from the log, an event an operation", against: "upserts", atLeast: 0.6,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.cold(ctx) }, verdict: inTime},
		{name: "chained", about: "messages made beforehand, published to JetStream in a chain",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.chained(ctx) }},
		{name: "relay", about: "the log copied to JetStream, an event an operation", against: "chained", atLeast: 0.6,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.relayed(ctx) }},
		{name: "mixed", about: "1,000 connections, four reads to one command", against: "commands", needsHub: true, run: runMixed, verdict: allAnswered},
		{name: "visible", about: "from the receipt to an answer that shows it, at a quarter of commands", against: "commands", needsHub: true,
			run:     func(ctx context.Context, b *bench) (sample, error) { return b.visible(ctx, quietShare) },
			verdict: within(maxVisibleP50, maxVisibleP99)},
		{name: "live", about: "the same at half of commands", against: "commands", needsHub: true,
			run:     func(ctx context.Context, b *bench) (sample, error) { return b.visible(ctx, busyShare) },
			verdict: within(maxLiveP50, maxLiveP99)},
		{name: "store", about: "callers of one command loop, without HTTP, distinct entities", against: "A64", atLeast: 3,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onLog(ctx, "store", b.connections) }},
		{name: "store-hot", about: "the same on one entity", against: "store", atLeast: 0.7,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onLog(ctx, "store-hot", b.connections) }},
		{name: "store-hot-2", about: "the same from two processes", against: "store", atLeast: 0.4,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onTwoProcesses(ctx, "store-hot") }},
		{name: "store-snapshot", about: "as store, at the end of a time with an old snapshot held", against: "store", cpuWithin: maxCPUGrowth,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.underSnapshot(ctx) }},
		{name: "store-grown", about: "as store, on a log that was filled before", against: "store", cpuWithin: maxCPUGrowth,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onGrown(ctx) }},
		{name: "rows", about: "raw INSERTs of the rows of 100 commands, one transaction at a time",
			run: func(ctx context.Context, b *bench) (sample, error) { return b.rawRows(ctx) }},
		{name: "turns", about: "appends of 100 commands, one at a time", against: "rows", atLeast: 0.5,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.onLog(ctx, "turns", 1) }},
	}, slices.Concat(catalogueScenarios(), ledgerScenarios(), sealedScenarios())...)
}

func runCommands(ctx context.Context, b *bench) (sample, error) {
	s, err := b.onHub(ctx, "create", func(spec *loadSpec) { spec.Lag = true })
	b.commandRate = s.rate()
	return s, err
}

func runReads(ctx context.Context, b *bench) (sample, error) {
	s, err := b.onHub(ctx, "read", nil)
	b.readP99 = s.P99
	return s, err
}

// visible paces its commands at a share of the greatest rate.
func (b *bench) visible(ctx context.Context, share float64) (sample, error) {
	return b.onHub(ctx, "visible", func(spec *loadSpec) { spec.Rate = share * b.commandRate })
}

// A busy day: many pages are open at once, and most of what they do is reading.
const (
	mixedConnections = 1000
	maxMixedP95      = 0.200
)

func runMixed(ctx context.Context, b *bench) (sample, error) {
	return b.onHub(ctx, "mixed", func(spec *loadSpec) { spec.Connections = mixedConnections })
}

// allAnswered judges by the worst round.
func allAnswered(runs []sample) (string, bool) {
	var slowest time.Duration
	failed := 0
	for _, s := range runs {
		slowest, failed = max(slowest, s.P95), failed+s.Errors
	}
	return fmt.Sprintf("p95 %.0f ms (was %.0f), no error (were %d)", maxMixedP95*1000, slowest.Seconds()*1000, failed),
		slowest.Seconds() <= maxMixedP95 && failed == 0
}

// viewKeepsUp judges by the worst round: "never more than" leaves out none.
func viewKeepsUp(runs []sample) (string, bool) {
	var longest time.Duration
	for _, s := range runs {
		longest = max(longest, s.MaxLag)
	}
	return fmt.Sprintf("view at most %.0f s behind (was %.2f)", maxLagSeconds, longest.Seconds()), longest.Seconds() <= maxLagSeconds
}

// within judges the times, in seconds, of the round that the table shows.
func within(p50, p99 float64) func([]sample) (string, bool) {
	return func(runs []sample) (string, bool) {
		s := median(runs, sample.rate)
		return fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", p50*1000, p99*1000), s.P50.Seconds() <= p50 && s.P99.Seconds() <= p99
	}
}

// choose takes the scenarios that match and those they are set against.
func choose(only *regexp.Regexp) (chosen []scenario) {
	all := scenarios()
	wanted := make(map[string]bool)
	// From the end, because a yardstick stands before what is set against it.
	for _, s := range slices.Backward(all) {
		if only.MatchString(s.name) {
			wanted[s.name] = true
		}
		if wanted[s.name] && s.against != "" {
			wanted[s.against] = true
		}
		for _, goal := range s.also {
			wanted[goal.against] = wanted[goal.against] || wanted[s.name]
		}
	}
	for _, s := range all {
		if wanted[s.name] {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

var header = []string{"name", "what", "rate/s", "p50 ms", "p99 ms", "max ms", "server µs/op", "PostgreSQL µs/op", "client µs/op", "others' cores", "ratio", "goal", "met"}

// row makes a row of a scenario's runs: that of the median rate, with the median of
// the ratios to the yardstick's run of the same round.
func row(s scenario, runs map[string][]sample) []string {
	own := runs[s.name]
	middle := median(own, sample.rate)
	cells := []string{
		s.name, s.about, thousands(middle.rate()), milliseconds(middle.P50), milliseconds(middle.P99), milliseconds(middle.Max),
		fmt.Sprintf("%.0f", middle.server), fmt.Sprintf("%.0f", middle.postgres), fmt.Sprintf("%.0f", middle.client),
		fmt.Sprintf("%.2f", middle.foreign),
	}
	ratio, goals, met := "", []string{}, true
	if s.against != "" {
		ratio = fmt.Sprintf("%.2f × %s", ratioTo(own, runs[s.against], sample.rate), s.against)
	}
	for _, goal := range append([]goal{{s.against, s.atLeast}}, s.also...) {
		if goal.atLeast > 0 {
			goals = append(goals, fmt.Sprintf("%.1f × %s", goal.atLeast, goal.against))
			met = met && ratioTo(own, runs[goal.against], sample.rate) >= goal.atLeast
		}
	}
	if s.cpuWithin > 0 {
		value := ratioTo(own, runs[s.against], sample.cpu)
		goals = append(goals, fmt.Sprintf("CPU at most %v × %s (was %.2f)", s.cpuWithin, s.against, value))
		met = met && value <= s.cpuWithin
	}
	if s.verdict != nil {
		goal, reached := s.verdict(own)
		goals, met = append(goals, goal), met && reached
	}
	return append(cells, ratio, strings.Join(goals, ", "), verdict(goals, met))
}

// ratioTo is the median of the ratios to another scenario's runs, round by round.
func ratioTo(own, others []sample, of func(sample) float64) float64 {
	ratios := make([]float64, len(own))
	for i := range own {
		ratios[i] = of(own[i]) / of(others[i])
	}
	return median(ratios, func(ratio float64) float64 { return ratio })
}

func verdict(goals []string, met bool) string {
	switch {
	case len(goals) == 0:
		return ""
	case met:
		return "yes"
	default:
		return "no"
	}
}

// startRows are the figures of starts, in the same columns as far as they fit.
func (s started) rows() [][]string {
	one := func(values []float64, about, format string, most float64) []string {
		value := median(values, func(value float64) float64 { return value })
		cells := make([]string, len(header))
		cells[0], cells[1] = start, about+fmt.Sprintf(": "+format, value)
		if most > 0 {
			goals := []string{fmt.Sprintf("at most "+format, most)}
			cells[len(header)-2], cells[len(header)-1] = goals[0], verdict(goals, value <= most)
		}
		return cells
	}
	return [][]string{
		one(s.cold, "healthy on an empty data directory", "%.2f s", maxColdSeconds),
		one(s.warm, "healthy on a warm data directory", "%.2f s", maxWarmSeconds),
		one(s.megabytes, "memory of an idle hub dev, PSS of all processes", "%.0f MB", maxMegabytes),
		one(s.idleCPU, "CPU of an idle hub dev", "%.3f cores", 0),
	}
}

// median is the element with the middle value, the lower of two.
func median[T any](items []T, value func(T) float64) T {
	sorted := slices.SortedFunc(slices.Values(items), func(a, b T) int {
		switch x, y := value(a), value(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		default:
			return 0
		}
	})
	return sorted[(len(sorted)-1)/2]
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

// thousands writes a whole number with commas.
func thousands(value float64) string {
	text := fmt.Sprintf("%.0f", value)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// write prints rows as a table for people or of Markdown.
func write(w io.Writer, markdown bool, rows [][]string) error {
	if markdown {
		rule := strings.Repeat("|---", len(header)) + "|\n"
		text := "| " + strings.Join(header, " | ") + " |\n" + rule
		for _, cells := range rows {
			text += "| " + strings.Join(cells, " | ") + " |\n"
		}
		_, err := io.WriteString(w, text)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{header}, rows...) {
		if _, err := fmt.Fprintln(table, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

package torture

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Shrink is the shortest history that it finds which breaks the same rule: first what
// has nothing to do with it is dropped in large parts, then one by one. The log stays;
// what dropped operations wrote is nobody's.
func Shrink(h History, rule string) History {
	breaks := func(h History) bool {
		return slices.ContainsFunc(Check(h), func(v Violation) bool { return v.Rule == rule })
	}
	if !breaks(h) {
		return h
	}
	operations, reads := h.Operations, h.Reads
	keep := minimal(len(operations)+len(reads), func(kept []int) bool { return breaks(h.only(kept)) })
	return h.only(keep)
}

// only is the history of some operations and, counted behind them, reads.
func (h History) only(kept []int) History {
	short := h
	short.Operations, short.Reads = nil, nil
	requests := make(map[string]bool)
	for _, i := range kept {
		if i >= len(h.Operations) {
			short.Reads = append(short.Reads, h.Reads[i-len(h.Operations)])
			continue
		}
		short.Operations = append(short.Operations, h.Operations[i])
		for _, a := range h.Operations[i].Attempts {
			requests[a.Request] = true
		}
	}
	dropped := make(map[string]bool)
	for _, o := range h.Operations {
		for _, a := range o.Attempts {
			dropped[a.Request] = !requests[a.Request]
		}
	}
	short.Log = slices.Clone(h.Log)
	for i := range short.Log {
		if dropped[short.Log[i].Request] {
			short.Log[i].Request = ""
		}
	}
	return short
}

// minimal drops parts of 0 … n−1 for as long as what is left still fails, in ever
// smaller parts (delta debugging, Zeller and Hildebrandt 2002).
func minimal(n int, fails func(kept []int) bool) []int {
	kept := make([]int, n)
	for i := range kept {
		kept[i] = i
	}
	for size := (n + 1) / 2; size > 0; {
		smaller := false
		for from := 0; from < len(kept); {
			rest := slices.Concat(kept[:from], kept[min(from+size, len(kept)):])
			if fails(rest) {
				kept, smaller = rest, true
			} else {
				from += size
			}
		}
		if size == 1 && !smaller {
			break
		}
		if size > 1 {
			size /= 2
		}
	}
	return kept
}

// Print writes a history as people read it: requests and answers in the order in which
// they began, then the part of the log that they are about.
func (h History) Print(w io.Writer) {
	lines := make(map[int64]string)
	concerned := make(map[string]bool)
	for _, o := range h.Operations {
		for _, name := range o.boundaries() {
			concerned[name] = true
		}
		for _, a := range o.Attempts {
			concerned[entityName(a.Receipt.ID)], concerned[entityName(a.Holder)] = true, true
			lines[a.Began] = fmt.Sprintf("%6d…%-6d operation %d: %s → %s%s, request %s",
				a.Began, a.Ended, o.ID, o.describe(), a.answer(), map[bool]string{true: " (replayed)"}[a.Replayed], a.Request)
		}
	}
	for _, r := range h.Reads {
		concerned[entityName(r.Entity)] = true
		lines[r.Began] = fmt.Sprintf("%6d…%-6d read %s as of %d → %d at %d: %+v", r.Began, r.Ended, r.Entity, r.Least, r.Status, r.Position, r.Row)
	}
	for _, clock := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintln(w, lines[clock])
	}
	for _, e := range h.Log {
		names := []string{e.Stream, e.Org + " " + e.Stream, keyName(e.Org, e.Data.Type, e.Data.Key)}
		if slices.ContainsFunc(names, func(name string) bool { return concerned[name] }) {
			fmt.Fprintf(w, "position %d: %s of %s, version %d, request %s\n", e.Position, e.Type, e.Stream, e.Version, e.Request)
		}
	}
}

func (o Operation) describe() string {
	parts := []string{string(o.Kind), o.Org, o.Type, o.Key, o.Entity, fmt.Sprintf("value=%d", o.Value)}
	if o.IfMatch != 0 {
		parts = append(parts, fmt.Sprintf("if-match=%d", o.IfMatch))
	}
	if o.Keyed {
		parts = append(parts, "with a key")
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

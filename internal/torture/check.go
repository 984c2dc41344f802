package torture

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
)

// Violation is a promise that was broken.
type Violation struct {
	Rule, Detail string
}

// The rules.
const (
	RulePositions = "positions are gapless from 1, also within an organisation"
	RuleVersions  = "versions are contiguous within a stream"
	RuleTime      = "recorded_at never decreases"
	RuleLeaf      = "the leaf hash is that of the row"
	RuleStray     = "every event is some operation's"
	RuleOnce      = "an operation is applied at most once"
	RuleLost      = "what was acknowledged is in the log"
	RuleUndone    = "what was refused is not in the log"
	RuleReceipt   = "a receipt says what the log says"
	RuleReplay    = "an operation has one answer, and all after the first are marked as replayed"
	RuleAnswer    = "every answer is one that the operation can have"
	RuleLegal     = "every event is right where it stands in the log"
	RuleOrder     = "what began after an answer comes after it in the log"
	RuleRefusal   = "a refusal was right at some moment between request and answer"
	RuleNoop      = "what had nothing to do had nothing to do at the position that it names"
	RuleRead      = "a read shows the log as of its position, which is at least the one asked for"
	RuleView      = "a view is what the log comes to"
	RuleStream    = "the sequence in JetStream is the position"
	RuleReaction  = "a reaction says once what has changed"
	RuleDelivered = "a consumer gets each position once, in order"
)

// Check returns every promise that the history breaks.
func Check(h History) []Violation {
	c := &check{History: h, model: newModel(h.Log), byRequest: make(map[string][]Event)}
	c.clocks()
	c.checkLog()
	for _, o := range h.Operations {
		c.checkOperation(o)
	}
	for _, r := range h.Reads {
		c.checkRead(r)
	}
	for _, v := range h.Views {
		c.checkView(v)
	}
	if h.Stream != nil {
		c.checkMessages(RuleStream, h.Stream)
	}
	if h.Delivered != nil {
		c.checkMessages(RuleDelivered, h.Delivered)
	}
	return c.violations
}

type check struct {
	History
	model      *model
	byRequest  map[string][]Event
	violations []Violation
	// seen holds, in the order of the clock, the highest position that clients knew of;
	// next the lowest position of what was asked for from then on.
	seen, next []moment
}

// moment is a reading of the clients' clock and a position.
type moment struct{ clock, position int64 }

func (c *check) fail(rule, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, fmt.Sprintf(format, args...)})
}

// clocks relates the clients' clock to the log.
func (c *check) clocks() {
	for _, e := range c.Log {
		c.byRequest[e.Request] = append(c.byRequest[e.Request], e)
	}
	for _, o := range c.Operations {
		for _, a := range o.Attempts {
			if a.accepted() {
				c.seen = append(c.seen, moment{a.Ended, a.Receipt.Position})
			}
			for _, e := range c.byRequest[a.Request] {
				c.next = append(c.next, moment{a.Began, e.Position})
			}
		}
	}
	for _, r := range c.Reads {
		if r.Position > 0 {
			c.seen = append(c.seen, moment{r.Ended, r.Position})
		}
	}
	byClock := func(a, b moment) int { return int(a.clock - b.clock) }
	slices.SortFunc(c.seen, byClock)
	slices.SortFunc(c.next, byClock)
	for i := 1; i < len(c.seen); i++ {
		c.seen[i].position = max(c.seen[i].position, c.seen[i-1].position)
	}
	for i := len(c.next) - 2; i >= 0; i-- {
		c.next[i].position = min(c.next[i].position, c.next[i+1].position)
	}
}

// least is a position that the log had reached before the clock showed this.
func (c *check) least(clock int64) int64 {
	i := sort.Search(len(c.seen), func(i int) bool { return c.seen[i].clock >= clock })
	if i == 0 {
		return 0
	}
	return c.seen[i-1].position
}

// most is the last position that the log can have had when the clock showed this.
func (c *check) most(clock int64) int64 {
	i := sort.Search(len(c.next), func(i int) bool { return c.next[i].clock > clock })
	if i < len(c.next) {
		return c.next[i].position - 1
	}
	if len(c.Log) == 0 {
		return 0
	}
	return c.Log[len(c.Log)-1].Position
}

func (c *check) checkLog() {
	requests := make(map[string]bool)
	for _, o := range c.Operations {
		for _, a := range o.Attempts {
			requests[a.Request] = true
		}
	}
	org, version := make(map[string]int64), make(map[string]int64)
	for i, e := range c.Log {
		org[e.Org]++
		if e.Position != int64(i+1) || e.OrgPosition != org[e.Org] {
			c.fail(RulePositions, "event %d has position %d, and %d within %s, which should be %d", i+1, e.Position, e.OrgPosition, e.Org, org[e.Org])
		}
		stream := e.Org + " " + e.Stream
		if version[stream]++; e.Version != version[stream] {
			c.fail(RuleVersions, "position %d: %s goes on with version %d instead of %d", e.Position, stream, e.Version, version[stream])
		}
		if i > 0 && e.RecordedAt.Before(c.Log[i-1].RecordedAt) {
			c.fail(RuleTime, "position %d is recorded before the one ahead of it", e.Position)
		}
		if !e.HashAgrees {
			c.fail(RuleLeaf, "position %d", e.Position)
		}
		// All tokens of a member say the same here, so there is one change.
		if e.Type == "member.changed" && e.Version > 1 {
			c.fail(RuleReaction, "position %d tells again of %s", e.Position, stream)
		}
		if e.ours() && e.Request != "" && !requests[e.Request] {
			c.fail(RuleStray, "position %d is of request %s, which nobody made", e.Position, e.Request)
		}
	}
}

func (c *check) checkOperation(o Operation) {
	var events []Event
	for _, a := range o.Attempts {
		written := c.byRequest[a.Request]
		events = append(events, written...)
		if len(written) > 0 && (a.undone() || a.Definite() && (a.Replayed || !a.accepted())) {
			c.fail(RuleUndone, "operation %d: request %s was answered %s, and wrote position %d", o.ID, a.Request, a.answer(), written[0].Position)
		}
		for _, e := range written {
			c.checkEvent(o, a, e)
		}
	}
	if len(events) > 1 {
		c.fail(RuleOnce, "operation %d wrote the positions %d and %d", o.ID, events[0].Position, events[1].Position)
	}
	originals, first := 0, (*Attempt)(nil)
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if !a.Definite() {
			continue
		}
		c.checkAnswer(o, *a, events)
		if !a.Replayed {
			originals++
		}
		if first == nil {
			first = a
		} else if a.answer() != first.answer() {
			c.fail(RuleReplay, "operation %d was answered %s and then %s", o.ID, first.answer(), a.answer())
		}
	}
	if originals > 1 {
		c.fail(RuleReplay, "operation %d was answered %d times as if for the first time", o.ID, originals)
	}
}

// checkEvent looks whether an event is what was asked for, and may stand where it does.
func (c *check) checkEvent(o Operation, a Attempt, e Event) {
	if fault := o.does(e); fault != "" {
		c.fail(RuleLegal, "operation %d wrote position %d, but %s", o.ID, e.Position, fault)
	}
	if want := c.model.decide(o, e.Position-1); want.code != "" || want.noop {
		c.fail(RuleLegal, "operation %d wrote position %d, where it comes to %+v", o.ID, e.Position, want)
	}
	if least := c.least(a.Began); e.Position <= least {
		c.fail(RuleOrder, "operation %d wrote position %d, although %d was known before it was asked for", o.ID, e.Position, least)
	}
}

// checkAnswer looks at a definite answer.
func (c *check) checkAnswer(o Operation, a Attempt, events []Event) {
	began := a.Began
	if a.Replayed {
		began = o.Attempts[0].Began
	}
	from, to := c.least(began), c.most(a.Ended)
	switch {
	case !slices.Contains([]int{http.StatusOK, http.StatusCreated, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}, a.Status),
		a.Replayed && !o.Keyed, o.Kind == Create && a.Status == http.StatusOK, a.Status == http.StatusCreated && o.Kind != Create && o.Kind != Define:
		c.fail(RuleAnswer, "operation %d was answered %s", o.ID, a.answer())
	case !a.accepted():
		if !slices.ContainsFunc(c.model.moments(o, from, to), func(p int64) bool { return c.model.refuses(o, a, p) }) {
			c.fail(RuleRefusal, "operation %d was answered %s, which it was nowhere between %d and %d", o.ID, a.answer(), from, to)
		}
	case len(a.Receipt.Events) == 0:
		want := c.model.decide(o, a.Receipt.Position)
		if !want.noop || want.version != a.Receipt.Version || a.Receipt.Position < from || a.Receipt.Position > to {
			c.fail(RuleNoop, "operation %d was answered %s; there it comes to %+v, and the log was between %d and %d", o.ID, a.answer(), want, from, to)
		}
	case len(events) == 0:
		c.fail(RuleLost, "operation %d was answered %s", o.ID, a.answer())
	default:
		if said := receiptOf(o, events[0]); a.answer() != (Attempt{Status: a.Status, Receipt: said}).answer() {
			c.fail(RuleReceipt, "operation %d was answered %s; the log has %+v", o.ID, a.answer(), said)
		}
	}
}

// refuses says whether a refusal is right at a position.
func (m *model) refuses(o Operation, a Attempt, position int64) bool {
	want := m.decide(o, position)
	return want.code == a.Code && (a.Code != "version_conflict" || a.Version == want.version) && a.Holder == want.holder
}

// receiptOf is what the writer of an event should be told.
func receiptOf(o Operation, e Event) Receipt {
	r := Receipt{ID: o.Type, Version: e.Version, Position: e.Position, Events: []ReceiptEvent{{e.Type, e.Position}}}
	if o.Kind != Define {
		r.ID = entityIDOf(e.Stream)
	}
	return r
}

// answer is all of an answer that must not differ the second time.
func (a Attempt) answer() string {
	if a.accepted() {
		return fmt.Sprintf("%d %+v", a.Status, a.Receipt)
	}
	return fmt.Sprintf("%d %s version=%d holder=%s", a.Status, a.Code, a.Version, a.Holder)
}

func (c *check) checkRead(r Read) {
	want := c.model.at(entityName(r.Entity), r.Position)
	switch {
	case r.Status == 0 || r.Status > http.StatusInternalServerError:
		return // no answer: a server or the view was away
	case r.Status != http.StatusOK && r.Status != http.StatusNotFound:
		c.fail(RuleRead, "a read of %s was answered %d", r.Entity, r.Status)
	case r.Position < r.Least:
		c.fail(RuleRead, "a read of %s as of %d shows position %d", r.Entity, r.Least, r.Position)
	case r.Position > c.most(r.Ended):
		c.fail(RuleRead, "a read of %s shows position %d, which was not there yet", r.Entity, r.Position)
	case r.Status == http.StatusNotFound && want.version != 0:
		c.fail(RuleRead, "a read says that there is no %s at position %d", r.Entity, r.Position)
	case r.Status == http.StatusOK && r.Row != want.row:
		c.fail(RuleRead, "a read at position %d shows %+v instead of %+v", r.Position, r.Row, want.row)
	}
}

func (c *check) checkView(v View) {
	rows := make(map[string]Row)
	for _, row := range v.Rows {
		if _, twice := rows[row.ID]; twice {
			c.fail(RuleView, "%s has %s twice", v.Name, row.ID)
		}
		rows[row.ID] = row
	}
	count := 0
	for _, id := range c.model.entities {
		want := c.model.at(entityName(id), v.Position)
		if want.version == 0 {
			continue
		}
		count++
		if got := rows[id]; got != want.row {
			c.fail(RuleView, "%s at position %d has %+v instead of %+v", v.Name, v.Position, got, want.row)
		}
	}
	if count < len(rows) {
		c.fail(RuleView, "%s at position %d has %d rows, and the log %d entities", v.Name, v.Position, len(rows), count)
	}
}

// checkMessages looks whether messages are the log, from the first to the last event.
func (c *check) checkMessages(rule string, messages []Message) {
	for i, m := range messages {
		switch {
		case m.Sequence != int64(i+1):
			c.fail(rule, "message %d has the sequence %d", i+1, m.Sequence)
			return
		case i >= len(c.Log):
			c.fail(rule, "sequence %d is beyond the log", m.Sequence)
			return
		case m.ID != c.Log[i].ID:
			c.fail(rule, "sequence %d is the event %s, and position %d the event %s", m.Sequence, m.ID, c.Log[i].Position, c.Log[i].ID)
		}
	}
	if len(messages) < len(c.Log) {
		c.fail(rule, "it ends at %d, and the log at %d", len(messages), len(c.Log))
	}
}

package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// answerTime is how long a client waits: longer than the hub tries to settle a turn.
	answerTime = 20 * time.Second
	// retryPause keeps clients of a system that is away from asking all the time.
	retryPause = 50 * time.Millisecond
	// maxRetries is how often a client asks again in the middle of the faults; what is
	// open then is settled after them.
	maxRetries = 6
	// hot is how many entities and keys are in use at a time: few, so that clients meet.
	hot = 5
	// keysPerStep is how many operations later the keys in use move on by one.
	keysPerStep = 15
)

var types = []string{"thing", "gadget"}

// load is a number of clients at work on one system.
type load struct {
	system *system
	clock  atomic.Int64
	// asked counts operations, for their ids and for those who wait for progress.
	asked  atomic.Int64
	tokens map[string]string

	mu       sync.Mutex
	known    map[string][]Row // of each organisation, the entities in use; Version may be old
	finished []Operation
	reads    []Read
}

func newLoad(s *system) *load {
	l := &load{system: s, tokens: make(map[string]string), known: make(map[string][]Row)}
	for _, org := range organisations {
		l.tokens[org] = s.token(org)
	}
	return l
}

// client is one of them. Its choices depend on its seed and on what it is answered.
type client struct {
	load   *load
	random *rand.Rand
	org    string
	http   *http.Client
	// seen is the highest position that this client knows of.
	seen int64
}

func (l *load) client(seed, number uint64) *client {
	return &client{
		load: l, random: rand.New(rand.NewPCG(seed, number)),
		// Two of three are in the first organisation.
		org:  organisations[number%3/2],
		http: &http.Client{Timeout: answerTime, Transport: &http.Transport{}},
	}
}

// run does one thing after the other until ctx ends.
func (c *client) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		if known := c.entities(); len(known) > 0 && c.random.IntN(4) == 0 {
			c.read(known[c.random.IntN(len(known))].ID)
			continue
		}
		c.write(ctx)
	}
}

func (c *client) write(ctx context.Context) {
	o := c.next()
	c.perform(ctx, &o)
	c.load.finish(o)
}

func (l *load) finish(o Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = append(l.finished, o)
}

func (c *client) entities() []Row {
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	return c.load.known[c.org]
}

// next chooses an operation.
func (c *client) next() Operation {
	r := c.random
	id := int(c.load.asked.Add(1))
	o := Operation{ID: id, Org: c.org, Value: r.IntN(4), Keyed: r.IntN(3) > 0}
	known := c.entities()
	choice := r.IntN(100)
	if len(known) == 0 {
		choice = 99
	}
	switch {
	case choice < 45:
		o.Kind = Patch
	case choice < 55:
		o.Kind = Archive
	case choice < 70:
		o.Kind = Restore
	case choice < 74:
		o.Kind, o.Type = Define, types[r.IntN(len(types))]
	default:
		o.Kind, o.Type = Create, types[r.IntN(len(types))]
		if r.IntN(5) > 0 {
			o.Key = fmt.Sprintf("k%d", id/keysPerStep+r.IntN(hot))
		}
	}
	if o.Kind != Create && o.Kind != Define {
		row := known[r.IntN(len(known))]
		o.Entity = row.ID
		if r.IntN(2) == 0 {
			o.IfMatch = row.Version
		}
	}
	return o
}

// perform asks once, or with a key as often as it takes to learn the outcome.
func (c *client) perform(ctx context.Context, o *Operation) {
	if o.Keyed && c.random.IntN(6) == 0 {
		c.together(o)
	} else {
		c.attempt(o, c.node())
	}
	if !o.Keyed {
		return
	}
	for range maxRetries {
		if settled(*o) {
			break
		}
		pause(ctx)
		c.attempt(o, c.node())
	}
	if settled(*o) && c.random.IntN(5) == 0 {
		c.attempt(o, c.node()) // again, though it is answered
	}
}

func settled(o Operation) bool {
	for _, a := range o.Attempts {
		if a.Definite() {
			return true
		}
	}
	return false
}

func pause(ctx context.Context) {
	select {
	case <-time.After(retryPause):
	case <-ctx.Done():
	}
}

func (c *client) node() *node {
	fronts := c.load.system.fronts()
	return fronts[c.random.IntN(len(fronts))]
}

// together sends the same request to all processes at once.
func (c *client) together(o *Operation) {
	fronts := c.load.system.fronts()
	attempts := make([]Attempt, len(fronts))
	var group sync.WaitGroup
	for i, n := range fronts {
		attempts[i] = Attempt{Request: fmt.Sprintf("%d.%d", o.ID, i), Began: c.load.clock.Add(1)}
		group.Go(func() { c.ask(*o, &attempts[i], n) })
	}
	group.Wait()
	for _, a := range attempts {
		o.Attempts = append(o.Attempts, a)
		c.learn(*o, a)
	}
}

func (c *client) attempt(o *Operation, n *node) {
	a := Attempt{Request: fmt.Sprintf("%d.%d", o.ID, len(o.Attempts)), Began: c.load.clock.Add(1)}
	c.ask(*o, &a, n)
	o.Attempts = append(o.Attempts, a)
	c.learn(*o, a)
}

// ask makes the request and notes the answer.
func (c *client) ask(o Operation, a *Attempt, n *node) {
	method, path, body := o.request()
	header := http.Header{"X-Request-Id": {a.Request}}
	if o.Keyed {
		header.Set("Idempotency-Key", strconv.Itoa(o.ID))
	}
	if o.IfMatch != 0 {
		header.Set("If-Match", fmt.Sprintf("%q", strconv.FormatInt(o.IfMatch, 10)))
	}
	var answer struct {
		Receipt
		Code    string `json:"code"`
		Version int64  `json:"version"`
		Holder  string `json:"id"`
	}
	response := c.do(n, method, path, body, header, &answer)
	a.Ended = c.load.clock.Add(1)
	if response == nil {
		return
	}
	a.Status, a.Replayed = response.StatusCode, response.Header.Get("Idempotency-Replayed") == "true"
	if a.accepted() {
		a.Receipt = answer.Receipt
		a.Receipt.ID, a.Receipt.Version = answer.Holder, answer.Version
		return
	}
	a.Code, a.Version, a.Holder = answer.Code, answer.Version, answer.Holder
}

func (o Operation) request() (method, path string, body any) {
	entity := "/api/v1/entities/" + o.Entity
	attributes := map[string]any{"value": o.Value}
	if o.Text != "" {
		attributes["text"] = o.Text
	}
	switch o.Kind {
	case Define:
		return http.MethodPut, "/api/v1/entity-types/" + o.Type, map[string]any{"title": titleOf(o.Value), "schema": map[string]any{"type": "object"}}
	case Create:
		body := map[string]any{"type": o.Type, "attributes": attributes}
		if o.Key != "" {
			body["key"] = o.Key
		}
		return http.MethodPost, "/api/v1/entities", body
	case Patch:
		return http.MethodPatch, entity, map[string]any{"attributes": attributes}
	case Archive:
		return http.MethodDelete, entity, nil
	default:
		return http.MethodPost, entity + "/restore", nil
	}
}

// do returns nil when there was no whole answer.
func (c *client) do(n *node, method, path string, body any, header http.Header, into any) *http.Response {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err) // maps of texts and numbers
		}
		sent = bytes.NewReader(encoded)
		header.Set("Content-Type", "application/json")
	}
	request, err := http.NewRequestWithContext(context.Background(), method, n.address()+path, sent)
	if err != nil {
		panic(err) // the paths are ours
	}
	request.Header = header
	header.Set("Authorization", "Bearer "+c.load.tokens[c.org])
	// What is sent is recorded: the transport may not send it twice on its own.
	request.GetBody = nil
	response, err := c.http.Do(request)
	if err != nil {
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil && response.StatusCode < 300 {
		return nil // cut short; a problem has other members
	}
	return response
}

// learn keeps what later choices build on.
func (c *client) learn(o Operation, a Attempt) {
	if !a.accepted() {
		return
	}
	c.seen = max(c.seen, a.Receipt.Position)
	if o.Kind == Define {
		return
	}
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	var next []Row
	found := false
	for _, row := range c.load.known[c.org] {
		if row.ID == a.Receipt.ID {
			row.Version, found = max(row.Version, a.Receipt.Version), true
		}
		next = append(next, row)
	}
	if !found && o.Kind == Create {
		next = append(next, Row{ID: a.Receipt.ID, Version: a.Receipt.Version})
	}
	c.load.known[c.org] = next[max(0, len(next)-hot):]
}

// read reads an entity, no older than what the client has seen.
func (c *client) read(id string) {
	r := Read{Began: c.load.clock.Add(1), Entity: id, Least: c.seen}
	var shown shownEntity
	response := c.do(c.node(), http.MethodGet, "/api/v1/entities/"+id, nil, http.Header{
		"Hub-Min-Position": {strconv.FormatInt(c.seen, 10)}, "Prefer": {"wait=2"},
	}, &shown)
	r.Ended = c.load.clock.Add(1)
	if response != nil {
		r.Status = response.StatusCode
		r.Position, _ = strconv.ParseInt(response.Header.Get("Hub-Position"), 10, 64) // 0 without one
		if r.Status == http.StatusOK {
			r.Row = shown.row(c.org)
			c.seen = max(c.seen, r.Position)
		}
	}
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	c.load.reads = append(c.load.reads, r)
}

// shownEntity is an entity as the API shows it.
type shownEntity struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Key        string `json:"key"`
	Status     string `json:"status"`
	Version    int64  `json:"version"`
	Attributes struct {
		Value int `json:"value"`
	} `json:"attributes"`
}

func (s shownEntity) row(org string) Row {
	return Row{
		Org: org, ID: s.ID, Type: s.Type, Key: s.Key, Archived: s.Status == "archived",
		Value: s.Attributes.Value, Version: s.Version,
	}
}

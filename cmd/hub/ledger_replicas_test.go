package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/projections"
)

// replicas are two processes that take commands on one log, either of which may be killed at
// any time, and callers who pay out of purses that may not be overdrawn.
type replicas struct {
	*hub   // the first of them
	fronts []*hub
	token  string
	// paid is who is paid, and equity who pays in.
	paid, equity string

	mu sync.Mutex
	// asked is how many requests have begun; begun tells of each.
	asked int
	begun *sync.Cond
	// made are the transactions that were acknowledged as posted, by reference.
	made map[string]string
}

func newReplicas(t *testing.T, database string) *replicas {
	t.Helper()
	r := &replicas{made: map[string]string{}}
	r.begun = sync.NewCond(&r.mu)
	issuer := newIssuer(t)
	shared := []string{
		"DATABASE_URL=" + database, "HUB_RATE_LIMIT=off", "HUB_LOG_LEVEL=warn", "NATS_URL=" + hubtest.NATSProcess(t).URL(), "IDENTITY_SERVICE_URL=" + issuer,
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}
	newServeHub(t, shared, "relay", "projector", "reactor").launch()
	for range 2 {
		own := append([]string{fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t))}, shared...)
		front := newServeHub(t, own, "command-api", "query-api")
		front.issuer = issuer
		r.fronts = append(r.fronts, front.start())
	}
	r.hub = r.fronts[0]
	r.token = r.hub.token("acme", "admin")
	r.paid = r.opened("6000", "expense", "")
	r.equity = r.opened("3000", "equity", "")
	return r
}

// opened opens an account; least is its min_balance, if any.
func (r *replicas) opened(code, kind, least string) string {
	r.t.Helper()
	body := map[string]any{"code": code, "name": code, "kind": kind, "currency": "EUR"}
	if least != "" {
		body["min_balance"] = least
	}
	account, _ := r.send(http.MethodPost, "/api/v1/accounts", r.token, nil, body)
	return account.ID
}

// purse is an account that has so much, and may be overdrawn by so much.
func (r *replicas) purse(round, funds, overdraft int) string {
	r.t.Helper()
	purse := r.opened(fmt.Sprint("purse ", round), "asset", fmt.Sprint(-overdraft))
	r.send(http.MethodPost, "/api/v1/transactions", r.token, nil, map[string]any{"date": "2026-01-01", "action": "post", "lines": []any{
		map[string]any{"account_id": purse, "side": "debit", "amount": fmt.Sprint(funds)},
		map[string]any{"account_id": r.equity, "side": "credit", "amount": fmt.Sprint(funds)},
	}})
	return purse
}

// betweenTries is how long a caller waits when no process answers.
const betweenTries = 20 * time.Millisecond

// ask sends a request to one of the processes, and again to the other whenever it does not
// learn what became of it, until it does. It returns what the answer says.
func (r *replicas) ask(front int, path, key string, body any) (status int, said struct{ ID, Code string }) {
	header := map[string]string{}
	if key != "" {
		header["Idempotency-Key"] = key
	}
	deadline, again := time.After(startTimeout), time.NewTicker(betweenTries)
	defer again.Stop()
	for ; ; front++ {
		r.mu.Lock()
		r.asked++
		r.begun.Broadcast()
		r.mu.Unlock()
		response, text, err := r.fronts[front%len(r.fronts)].do(r.t.Context(), http.MethodPost, path, r.token, header, body)
		if err == nil && response.StatusCode != http.StatusServiceUnavailable && response.StatusCode != http.StatusGatewayTimeout {
			assert.NoError(r.t, json.Unmarshal(text, &said), "%s", text)
			return response.StatusCode, said
		}
		select {
		case <-again.C:
		case <-deadline:
			assert.Fail(r.t, "no process answers", "%s: %v %s", path, err, text)
			return 0, said
		}
	}
}

// payment is a transaction that takes 1.00 from a purse, known by a reference.
func (r *replicas) payment(purse, ref, action string) map[string]any {
	return map[string]any{
		"date": []string{"2026-01-31", "2026-02-28"}[len(ref)%2], "action": action, "metadata": map[string]string{"ref": ref},
		"lines": []any{
			map[string]string{"account_id": r.paid, "side": "debit", "amount": "1.00"},
			map[string]string{"account_id": purse, "side": "credit", "amount": "1.00"},
		},
	}
}

// pay makes a payment in one of several ways, and reports whether there was enough.
func (r *replicas) pay(purse, ref string, way, front int) bool {
	const transactions = "/api/v1/transactions"
	var status int
	var said struct{ ID, Code string }
	posted := true
	switch way % 5 {
	case 0: // known by its external_ref
		body := r.payment(purse, ref, "post")
		body["external_ref"] = ref
		status, said = r.ask(front, transactions, "", body)
	case 1: // known by a key
		status, said = r.ask(front, transactions, ref, r.payment(purse, ref, "post"))
	case 2: // in two steps
		if status, said = r.ask(front, transactions, ref, r.payment(purse, ref, "submit")); status < 300 {
			status, _ = r.ask(front, transactions+"/"+said.ID+"/post", ref+"/post", nil)
		}
	case 3: // not made in the end
		posted = false
		if status, said = r.ask(front, transactions, ref, r.payment(purse, ref, "submit")); status < 300 {
			status, _ = r.ask(front, transactions+"/"+said.ID+"/void", ref+"/void", nil)
		}
	default: // at both processes at once
		var group sync.WaitGroup
		answers := make([]struct {
			status int
			said   struct{ ID, Code string }
		}, len(r.fronts))
		for i := range answers {
			group.Go(func() {
				answers[i].status, answers[i].said = r.ask(i, transactions, ref, r.payment(purse, ref, "post"))
			})
		}
		group.Wait()
		assert.Equal(r.t, answers[0], answers[1], "one key, one answer")
		status, said = answers[0].status, answers[0].said
	}
	if status >= 300 {
		assert.Equal(r.t, "409 insufficient_funds", fmt.Sprint(status, " ", said.Code), ref)
		return false
	}
	if posted {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.made[ref] = said.ID
	}
	return true
}

// spend has eight callers pay out of a purse until there is not enough, kills what it is given
// once so many requests have begun, and returns how many payments were made.
func (r *replicas) spend(purse string, round, enough int, victims func()) int {
	before := len(r.made)
	r.asked = 0
	var group sync.WaitGroup
	for caller := range 8 {
		group.Go(func() {
			for n, paid := 0, true; paid; n++ {
				paid = r.pay(purse, fmt.Sprintf("%d-%d-%d", round, caller, n), caller+n, caller+n/5)
			}
		})
	}
	r.mu.Lock()
	for r.asked < enough {
		r.begun.Wait()
	}
	r.mu.Unlock()
	victims()
	group.Wait()
	// What was held by those who gave up is there again.
	for n, paid := 0, true; paid; n++ {
		paid = r.pay(purse, fmt.Sprintf("%d-rest-%d", round, n), 1, n)
	}
	return len(r.made) - before
}

// crash kills one of the processes, both, or the database, and starts them again.
func (r *replicas) crash(which int, database *hubtest.Durable) {
	switch which {
	case 0, 1:
		r.fronts[which].kill()
		r.fronts[which].launch()
	case 2:
		r.fronts[0].kill()
		r.fronts[1].kill()
		r.fronts[1].launch()
		r.fronts[0].launch()
	default:
		database.Kill()
		database.Start()
	}
}

// entry is what an event of a transaction says of money.
type entry struct {
	Date  string
	Lines []struct {
		AccountID string `json:"account_id"`
		Side      string
		Amount    cents
	}
}

// cents are an amount in the smallest unit of euros, read from a decimal with two digits.
type cents int64

func (c *cents) UnmarshalText(text []byte) error {
	minor, err := strconv.ParseInt(strings.Replace(string(text), ".", "", 1), 10, 64)
	*c = cents(minor)
	return err
}

// of is what the lines take from an account whose balance debits make grow.
func (e entry) of(account string) (sum cents) {
	for _, line := range e.Lines {
		if line.AccountID != account {
			continue
		}
		if line.Side == "debit" {
			sum += line.Amount
		} else {
			sum -= line.Amount
		}
	}
	return sum
}

// recorded is an event of a transaction in the log.
type recorded struct {
	Type, Stream string
	Data         struct {
		entry
		Content        *struct{ Metadata struct{ Ref string } }
		Held, Released *entry
	}
}

// days is what is available on an account, by the day on which it changes.
type days map[string]cents

// least is the least that there is on any day.
func (d days) least() (least cents) {
	var sum cents
	for _, date := range slices.Sorted(maps.Keys(d)) {
		sum += d[date]
		least = min(least, sum)
	}
	return least
}

// apply adds what an event does to an account. What comes in is nobody's to spend before it
// is posted.
func (d days) apply(e recorded, account string) {
	if held := e.Data.Held; held != nil {
		d[held.Date] += min(0, held.of(account))
	}
	if released := e.Data.Released; released != nil {
		d[released.Date] -= min(0, released.of(account))
	}
	if e.Type == "transaction.posted" {
		d[e.Data.Date] += e.Data.of(account)
	}
}

// proves holds the log against what the callers were told: what was acknowledged is there,
// once, nothing else was posted, and after no event, on no day, was less available on a purse
// than its least balance.
func (r *replicas) proves(purses map[string]cents) {
	r.t.Helper()
	var log []recorded
	require.NoError(r.t, json.Unmarshal([]byte(r.command("events", "replay", "--output", "json")), &log))
	refs, posted := map[string]string{}, map[string]string{}
	available := map[string]days{}
	for purse := range purses {
		available[purse] = days{}
	}
	for _, e := range log {
		if e.Data.Content != nil {
			refs[e.Stream] = e.Data.Content.Metadata.Ref
		}
		if ref := refs[e.Stream]; e.Type == "transaction.posted" && ref != "" {
			require.NotContains(r.t, posted, ref, "posted twice")
			posted[ref] = e.Stream
		}
		for purse, least := range purses {
			available[purse].apply(e, purse)
			require.GreaterOrEqual(r.t, available[purse].least(), least, "%s: %v", purse, available[purse])
		}
	}
	acknowledged := map[string]string{}
	for ref, id := range r.made {
		acknowledged[ref] = "transaction:" + id
	}
	require.Equal(r.t, acknowledged, posted)
}

// Two processes decide on one log, and either is killed at any moment, or both are, or the
// database is: of every purse just as much is spent as was there, what was acknowledged is in
// the log once, and the views and the proof of the books agree with it.
func TestTheLedgerOfTwoProcessesThatAreKilled(t *testing.T) {
	t.Parallel()
	database := hubtest.DurableServer(t, nil)
	require.NoError(t, hubtest.LogAndViews().Up(t.Context(), database.URL("postgres")))
	r := newReplicas(t, database.URL("postgres"))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	purses := map[string]cents{}
	for round, which := range []int{0, 1, 0, 1, 2, 3} {
		const funds = 40
		overdraft := 15 * (round % 2)
		purse := r.purse(round, funds, overdraft)
		purses[purse] = cents(-100 * overdraft)
		want := funds + overdraft
		require.Equal(t, want, r.spend(purse, round, 1+random.IntN(want), func() { r.crash(which, database) }), "round %d", round)
	}

	r.proves(purses)
	position := int64(len(r.replay()))
	for _, front := range r.fronts {
		for purse, least := range purses {
			var account struct{ Balance, Available, Pending cents }
			require.Equal(t, http.StatusOK, front.get("/api/v1/accounts/"+purse, r.token, after(position), &account))
			assert.Equal(t, []cents{least, least, 0}, []cents{account.Balance, account.Available, account.Pending})
		}
		front.balances(r.token, position)
	}
	report := listed[projections.LedgerReport](r.hub, "ledger", "verify")
	require.Len(t, report, 1)
	assert.Zero(t, report[0].Count, "%v", report[0].Differences)
	assert.Equal(t, len(r.made)+len(purses), report[0].Entries/2)
	r.command("projections", "verify", "ledger")
}

// 64 debits of 1 on a balance of 10, which two processes are sent at once: exactly 10 succeed,
// a hundred times.
func TestDebitsAtTwoProcessesAtOnce(t *testing.T) {
	t.Parallel()
	const rounds, debits, funds = 100, 64, 10
	r := newReplicas(t, hubtest.Database(t, hubtest.LogAndViews()))
	for _, front := range r.fronts {
		transport := &http.Transport{MaxIdleConnsPerHost: debits}
		t.Cleanup(transport.CloseIdleConnections)
		front.client = &http.Client{Transport: transport}
	}
	for round := range rounds {
		purse := r.purse(round, funds, 0)
		answers := make([]string, debits)
		var released, all sync.WaitGroup
		released.Add(1)
		for i := range debits {
			all.Go(func() {
				released.Wait()
				status, said := r.ask(i, "/api/v1/transactions", "", r.payment(purse, "", "post"))
				answers[i] = strings.TrimSpace(fmt.Sprint(status, " ", said.Code))
			})
		}
		released.Done()
		all.Wait()
		count := map[string]int{}
		for _, answer := range answers {
			count[answer]++
		}
		require.Equal(t, map[string]int{"201": funds, "409 insufficient_funds": debits - funds}, count, "round %d", round)
	}
	report := listed[projections.LedgerReport](r.hub, "ledger", "verify")
	assert.Zero(t, report[0].Count, "%v", report[0].Differences)
}

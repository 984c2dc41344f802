package ledger_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

var (
	ours   = uuid.MustParse("0190aaaa-0000-7000-8000-000000000001")
	theirs = uuid.MustParse("0190aaaa-0000-7000-8000-000000000002")
)

func opened(kind ledger.Kind, least string) ledger.Book {
	return ledger.Book{}.Evolve(domain.Fact{Stream: ledger.AccountStream(ours), Payload: ledger.Opened{
		Code: "1", Name: "n", Kind: kind, Currency: "EUR", MinBalance: least,
	}}).(ledger.Book)
}

func date(t require.TestingT, text string) ledger.Date {
	d, ok := ledger.ParseDate(text)
	require.True(t, ok)
	return d
}

// movement debits our account, or credits it when the amount is negative.
func movement(d ledger.Date, minor int64) ledger.Movement {
	side, amount := ledger.Debit, minor
	if minor < 0 {
		side, amount = ledger.Credit, -minor
	}
	return ledger.Movement{Date: d, Lines: []ledger.Line{
		{AccountID: ours, Side: side, Amount: ledger.Money{Minor: amount, Currency: "EUR"}},
		{AccountID: theirs, Side: side.Opposite(), Amount: ledger.Money{Minor: amount, Currency: "EUR"}},
	}}
}

// held is a transaction of the model that waits.
type held struct{ ledger.Movement }

// The Book of any history says of every day what adding up the history says: what was
// posted by then, less what is held of it. It is the same after it was put aside, and
// evolving leaves what somebody still holds as it was.
func TestTheBookIsTheSumOfItsHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]ledger.Kind{ledger.Asset, ledger.Liability}).Draw(t, "kind")
		sign := int64(1)
		if kind == ledger.Liability {
			sign = -1
		}
		book := opened(kind, "-3.00")
		days := map[ledger.Date]int64{} // what changes on a day
		var waiting []held
		first := date(t, "2025-12-01")
		outflow := func(m ledger.Movement) int64 {
			return min(0, sign*signed(m))
		}
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			m := movement(first+ledger.Date(rapid.Int32Range(0, 95).Draw(t, "day")), rapid.Int64Range(-500, 500).Draw(t, "minor"))
			var payload domain.Payload
			which := rapid.IntRange(0, 3).Draw(t, "which")
			switch {
			case which == 0 || len(waiting) == 0 && which > 1:
				payload = ledger.Posted{Movement: m}
				days[m.Date] += sign * signed(m)
			case which == 1:
				payload = ledger.Submitted{Held: m}
				days[m.Date] += outflow(m)
				waiting = append(waiting, held{m})
			default:
				old := waiting[0].Movement
				waiting = waiting[1:]
				days[old.Date] -= outflow(old)
				switch rapid.IntRange(0, 4).Draw(t, "end") {
				case 0:
					payload = ledger.Voided{Released: &old}
				case 1:
					payload = ledger.Rejected{Released: old}
				case 2:
					payload = ledger.Expired{Released: &old}
				case 3:
					payload = ledger.Updated{Content: ledger.Content{Movement: m}, Released: &old}
					days[m.Date] += outflow(m)
					waiting = append(waiting, held{m})
				default:
					payload = ledger.Posted{Movement: m, Released: &old}
					days[m.Date] += sign * signed(m)
				}
			}
			before, was := book, kept(t, book)
			book = book.Evolve(domain.Fact{Payload: payload}).(ledger.Book)
			if kept(t, before) != was {
				t.Fatal("evolving changed the state before")
			}
		}
		wantDate, wantSum, wantBroken := brokenDay(days, first)
		gotDate, gotSum, gotBroken := book.Broken()
		if gotBroken != wantBroken || gotDate != wantDate || gotSum != wantSum {
			t.Fatalf("broken %v on %s with %d, want %v on %s with %d", gotBroken, gotDate, gotSum, wantBroken, wantDate, wantSum)
		}
		again, err := ledger.Book{}.Restore([]byte(kept(t, book)))
		if err != nil || !reflect.DeepEqual(again, domain.State(book)) {
			t.Fatalf("%+v was %+v (%v)", again, book, err)
		}
	})
}

// signed is what a movement adds to debits less credits.
func signed(m ledger.Movement) int64 {
	if m.Lines[0].Side == ledger.Credit {
		return -m.Lines[0].Amount.Minor
	}
	return m.Lines[0].Amount.Minor
}

func brokenDay(days map[ledger.Date]int64, first ledger.Date) (ledger.Date, int64, bool) {
	var sum int64
	for d := first; d < first+100; d++ {
		if sum += days[d]; sum < -300 {
			return d, sum, true
		}
	}
	return 0, 0, false
}

func kept(t require.TestingT, b ledger.Book) string {
	data, err := b.Keep()
	require.NoError(t, err)
	return string(data)
}

func TestBooksAtTheirBounds(t *testing.T) {
	book := opened(ledger.Asset, "0.00")
	require.False(t, book.Overflows())
	full := book.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2026-01-31"), ledger.MaxMinor)}}).(ledger.Book)
	require.False(t, full.Overflows())
	over := full.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "1900-01-01"), 1)}}).(ledger.Book)
	require.True(t, over.Overflows())
	under := book.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2026-01-31"), -ledger.MaxMinor)}}).(ledger.Book).
		Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2199-12-31"), -1)}}).(ledger.Book)
	require.True(t, under.Overflows())
	empty := book.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2026-01-31"), -ledger.MaxMinor)}}).(ledger.Book)
	require.False(t, empty.Overflows(), "by nothing yet")
	require.Greater(t, under.Size(), book.Size())
	_, err := ledger.Book{}.Restore([]byte("x"))
	require.Error(t, err)
	// A million entries of one account are as many months as they span.
	busy := book
	for i := range 10_000 {
		busy = busy.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2026-01-01")+ledger.Date(i%365), 1)}}).(ledger.Book)
	}
	require.Less(t, busy.Size(), 12*400+1000)
}

type foreign struct{}

func (foreign) EventType() string { return "other.happened" }

// States pass over facts that say nothing about them.
func TestStatesIgnoreOtherFacts(t *testing.T) {
	for kind, state := range ledger.Folds() {
		require.Equal(t, state, state.Evolve(domain.Fact{Stream: "other:x", Payload: foreign{}}), kind)
		require.Positive(t, state.Size(), kind)
	}
	ref := ledger.Ref{TransactionID: "x"}
	for _, payload := range []domain.Payload{ledger.Submitted{}, ledger.Posted{}} {
		require.Equal(t, domain.State(ref), ref.Evolve(domain.Fact{Payload: payload}))
	}
	updated := opened(ledger.Asset, "0.00")
	require.Equal(t, domain.State(updated), updated.Evolve(domain.Fact{Payload: ledger.Updated{Content: ledger.Content{Movement: movement(1, 5)}}}), "a draft holds nothing")
}

// A Book that has just its least balance goes on as one that never had.
func TestABookAtItsLeast(t *testing.T) {
	book := opened(ledger.Asset, "0.00")
	for _, posted := range []ledger.Movement{
		movement(date(t, "2026-01-10"), 5), movement(date(t, "2026-02-10"), -5), movement(date(t, "2026-03-10"), 1), movement(date(t, "2026-03-11"), -1),
	} {
		book = book.Evolve(domain.Fact{Payload: ledger.Posted{Movement: posted}}).(ledger.Book)
		_, _, broken := book.Broken()
		require.False(t, broken, "%s", posted.Date)
	}
	book = book.Evolve(domain.Fact{Payload: ledger.Posted{Movement: movement(date(t, "2026-02-11"), -1)}}).(ledger.Book)
	on, left, broken := book.Broken()
	require.True(t, broken)
	require.Equal(t, "2026-02-11 -1", fmt.Sprint(on, " ", left))
}

// What a state holds counts, each part by its bytes and those of Go around it: or else the
// cache would hold more than it may.
func TestSizesGrow(t *testing.T) {
	const some = 100
	text, least := strings.Repeat("x", some), some
	grows := func(what string, from, to domain.State, by int) {
		t.Helper()
		require.GreaterOrEqual(t, to.Size(), from.Size()+by, what)
	}
	account := ledger.Account{}
	grows("the code", account, ledger.Account{Code: text}, least)
	grows("the name", account, ledger.Account{Name: text}, least)
	grows("who has a code", ledger.Code{}, ledger.Code{AccountID: text}, least)
	sealed := &domain.Sealed{Text: text, Subject: "a", Within: []string{"b", "c"}}
	var transaction ledger.Transaction
	grows("a maker", transaction, ledger.Transaction{Makers: []string{text}}, least+16)
	grows("an approval", transaction, ledger.Transaction{Approvals: make([]ledger.Approval, 1)}, least)
	for what, c := range map[string]struct {
		content ledger.Content
		by      int
	}{
		"lines":           {ledger.Content{Movement: movement(1, 5)}, 2 * 100},
		"the description": {ledger.Content{Description: ledger.Personal[string]{Clear: text}}, least},
		"it sealed":       {ledger.Content{Description: ledger.Personal[string]{Sealed: sealed}}, least + 3*16},
		"the reference":   {ledger.Content{ExternalRef: text}, least},
		"what is private": {ledger.Content{Private: ledger.Personal[map[string]json.RawMessage]{Sealed: sealed}}, least + 3*16},
		"subjects":        {ledger.Content{Subjects: []string{"a", "b", "c"}}, 3 * 16},
		"metadata":        {ledger.Content{Metadata: map[string]json.RawMessage{text: json.RawMessage(text)}}, 2*least + 2*16},
	} {
		grows(what, transaction, ledger.Transaction{Content: c.content}, c.by)
		grows(what, ledger.Ref{}, ledger.Ref{First: c.content}, c.by)
	}
}

func TestDates(t *testing.T) {
	d := date(t, "1900-01-01")
	require.Equal(t, "1900-01-01", d.String())
	text, err := d.MarshalText()
	require.NoError(t, err)
	var back ledger.Date
	require.NoError(t, back.UnmarshalText(text))
	require.Equal(t, d, back)
	require.Error(t, back.UnmarshalText([]byte("1899-12-31")))
	for text, end := range map[string]string{"2026-01-01": "2026-01-31", "2026-01-31": "2026-01-31", "2024-02-10": "2024-02-29", "2026-02-10": "2026-02-28", "2026-12-31": "2026-12-31"} {
		require.Equal(t, end, date(t, text).MonthEnd().String())
	}
	require.Equal(t, time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC), date(t, "2199-12-31").Time())
}

func TestLinesThatCannotBeRead(t *testing.T) {
	var line ledger.Line
	require.Error(t, json.Unmarshal([]byte(`{"amount":7}`), &line))
	require.Error(t, json.Unmarshal([]byte(`{"amount":"x"}`), &line))
}

func TestBalances(t *testing.T) {
	require.True(t, ledger.Balances(movement(1, 5).Lines))
	require.False(t, ledger.Balances(movement(1, 5).Lines[:1]))
	require.False(t, ledger.Balances(nil))
	require.False(t, ledger.Balances([]ledger.Line{{AccountID: ours, Side: ledger.Debit, Amount: ledger.Money{Currency: "EUR"}}}), "nothing, by itself")
}

// The timer of expiry is set by what says a time, and cancelled by what ends it.
func TestTheTimerOfExpiry(t *testing.T) {
	timer := ledger.Expiry()
	until := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	lasting, expiring := ledger.Content{}, ledger.Content{ExpiresAt: &until}
	for _, c := range []struct {
		payload    domain.Payload
		found, set bool
	}{
		{ledger.Drafted{Content: expiring}, true, true},
		{ledger.Drafted{Content: lasting}, false, false},
		{ledger.Submitted{Content: &expiring}, true, true},
		{ledger.Submitted{Content: &lasting}, false, false},
		{ledger.Submitted{}, false, false},
		{ledger.Updated{Content: expiring}, true, true},
		{ledger.Updated{Content: lasting}, true, false},
		{ledger.Posted{Content: &expiring}, false, false},
		{ledger.Posted{}, true, false},
		{ledger.Voided{}, true, false},
		{ledger.Rejected{}, true, false},
		{ledger.Expired{}, true, false},
	} {
		change, found := timer.Change(domain.Event{Stream: "transaction:x"}, c.payload)
		require.Equal(t, c.found, found, "%T", c.payload)
		require.Equal(t, c.set, change.Set, "%T", c.payload)
		require.Equal(t, "x", change.Key)
		require.Contains(t, timer.Types, c.payload.EventType())
	}
}

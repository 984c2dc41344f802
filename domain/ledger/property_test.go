package ledger_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// history is random commands on a book, what they came to, and a model of the books that adds
// up every line by hand.
type history struct {
	*book
	r     *rapid.T
	made  []uuid.UUID
	model model
}

// model is the books without any rule: what is posted, and what is held by whom.
type model struct {
	posted []ledger.Movement
	held   map[domain.Tag]ledger.Movement
}

// guards are the accounts with a least balance, in the smallest unit, and what makes them grow.
var guards = map[uuid.UUID]struct {
	least  int64
	debits bool
}{bank: {0, true}, loan: {-50000, false}}

// net is what lines add to the balance of a guarded account.
func net(lines []ledger.Line, account uuid.UUID) (sum int64) {
	for _, line := range lines {
		switch {
		case line.AccountID != account:
		case (line.Side == ledger.Debit) == guards[account].debits:
			sum += line.Amount.Minor
		default:
			sum -= line.Amount.Minor
		}
	}
	return sum
}

// available is what is on a guarded account on a day, less what is held of it by then.
func (m model) available(account uuid.UUID, day ledger.Date) (sum int64) {
	for _, moved := range m.posted {
		if moved.Date <= day {
			sum += net(moved.Lines, account)
		}
	}
	for _, held := range m.held {
		if held.Date <= day {
			sum += min(0, net(held.Lines, account))
		}
	}
	return sum
}

// firstDay and lastDay are around all days that these histories have.
var firstDay, _ = ledger.ParseDate("2026-01-01")

const dayCount = 100

// breaks is the first day on which an account has less than its least.
func (m model) breaks(account uuid.UUID) (ledger.Date, int64, bool) {
	for d := firstDay; d < firstDay+dayCount; d++ {
		if has := m.available(account, d); has < guards[account].least {
			return d, has, true
		}
	}
	return 0, 0, false
}

// apply has a fact happen in the model.
func (m *model) apply(f domain.Fact) {
	switch p := f.Payload.(type) {
	case ledger.Submitted:
		m.held[f.Stream] = p.Held
	case ledger.Updated:
		if _, waits := m.held[f.Stream]; waits {
			m.held[f.Stream] = p.Content.Movement
		}
	case ledger.Posted:
		m.posted = append(m.posted, p.Movement)
		delete(m.held, f.Stream)
	case ledger.Rejected, ledger.Voided, ledger.Expired:
		delete(m.held, f.Stream)
	}
}

// conserved checks that in each currency all accounts together have nothing, and that every
// movement is of at least two lines, each more than nothing.
func (m model) conserved() error {
	sums := map[string]int64{}
	for _, moved := range m.posted {
		for _, line := range moved.Lines {
			if line.Amount.Minor <= 0 || len(moved.Lines) < 2 {
				return fmt.Errorf("a line of %s among %d", line.Amount, len(moved.Lines))
			}
			if line.Side == ledger.Debit {
				sums[line.Amount.Currency] += line.Amount.Minor
			} else {
				sums[line.Amount.Currency] -= line.Amount.Minor
			}
		}
	}
	for currency, sum := range sums {
		if sum != 0 {
			return fmt.Errorf("%d %s were made of nothing", sum, currency)
		}
	}
	return nil
}

// do lets a command be decided, and looks at the books after each of its events.
func (h *history) do(what string, d domain.Decider) *domaintest.Outcome {
	o := h.When(d)
	for _, f := range o.Decision.Facts {
		h.facts = append(h.facts, f)
		h.model.apply(f)
		require.NoError(h.r, h.model.conserved(), what)
		for account := range guards {
			on, has, broken := h.model.breaks(account)
			require.False(h.r, broken, "%s: %d on %s", what, has, on)
		}
	}
	return o
}

// create makes a transaction. Where it is refused for want of funds, the model breaks by it,
// and first where the problem says.
func (h *history) create() {
	stream := ledger.TransactionStream(id(10_000 + len(h.made)))
	h.made = append(h.made, id(10_000+len(h.made)))
	n := ledger.NewTransaction{ID: h.made[len(h.made)-1], Draft: h.draft(), Move: rapid.Bool().Draw(h.r, "move")}
	var would ledger.Movement
	drafting := creating(n)
	h.did(act{drafting.boundaries, func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
		if d, err := drafting.decide(r, m); err == nil {
			would = d.Facts[0].Payload.(ledger.Drafted).Content.Movement
		}
		return domain.Decision{}, nil
	}})
	n.Action = rapid.SampledFrom([]string{"draft", "submit", "submit", "post", "post"}).Draw(h.r, "action")
	p := problem.Of(h.do(n.Action, creating(n)).Err)
	if p == nil || p.Code != "insufficient_funds" || n.Move { // which may be of another date
		return
	}
	after := model{posted: slices.Clone(h.model.posted), held: maps.Clone(h.model.held)}
	if n.Action == "post" {
		after.posted = append(after.posted, would)
	} else {
		after.held[stream] = would
	}
	account := uuid.MustParse(p.Extra["account_id"].(string))
	on, has, broken := after.breaks(account)
	require.True(h.r, broken)
	require.Equal(h.r, map[string]any{
		"account_id": account.String(), "date": on.String(), "available": ledger.FormatMinor(has, "EUR"), "min_balance": ledger.FormatMinor(guards[account].least, "EUR"),
	}, p.Extra)
}

func (h *history) date() string {
	return (firstDay + ledger.Date(rapid.Int32Range(0, dayCount/2).Draw(h.r, "day"))).String()
}

// draft draws lines in euros, perhaps a split, and perhaps dollars that are changed.
func (h *history) draft() ledger.Draft {
	d := ledger.Draft{Date: h.date()}
	euros := rapid.SampledFrom([]uuid.UUID{bank, cash, sales, loan})
	for range rapid.IntRange(1, 2).Draw(h.r, "pairs") {
		amount := fmt.Sprint(rapid.IntRange(1, 300).Draw(h.r, "amount"))
		d.Lines = append(d.Lines, ledger.DraftLine{AccountID: euros.Draw(h.r, "from").String(), Side: "credit", Amount: amount})
		if rapid.Bool().Draw(h.r, "split") {
			d.Splits = append(d.Splits, ledger.Split{Side: "debit", Amount: amount, Shares: []ledger.Share{
				{AccountID: euros.Draw(h.r, "one").String(), Share: rapid.Int64Range(1, 9).Draw(h.r, "of")}, {AccountID: euros.Draw(h.r, "other").String(), Share: 3},
			}})
			continue
		}
		d.Lines = append(d.Lines, ledger.DraftLine{AccountID: euros.Draw(h.r, "to").String(), Side: "debit", Amount: amount})
	}
	if rapid.IntRange(0, 3).Draw(h.r, "dollars") == 0 {
		d.Lines = append(d.Lines, lines("debit dollars 100, credit dollars 100, debit cash 92.17 100 USD 0.92166, credit bank 92.17")...)
	}
	if rapid.Bool().Draw(h.r, "expires") {
		d.ExpiresAt = new(domaintest.Now.Add(time.Hour))
	}
	return d
}

// part is a part of what a transaction has, on each side.
func (h *history) part(id uuid.UUID) (part []ledger.DraftLine) {
	for _, side := range []ledger.Side{ledger.Debit, ledger.Credit} {
		all := h.state(id).Content.Lines
		line := all[slices.IndexFunc(all, func(l ledger.Line) bool { return l.Side == side && l.Amount.Currency == "EUR" })]
		part = append(part, ledger.DraftLine{AccountID: line.AccountID.String(), Side: string(side), Amount: "0.01"})
	}
	return part
}

// step draws a command and lets it be decided.
func (h *history) step() {
	h.as(rapid.SampledFrom([]string{"ana", "bob", "carl"}).Draw(h.r, "who"))
	h.at(domaintest.Now.Add(rapid.SampledFrom([]time.Duration{0, 0, 0, time.Hour}).Draw(h.r, "when")))
	which := rapid.IntRange(0, 22).Draw(h.r, "which")
	if which < 9 || len(h.made) == 0 {
		h.create()
		return
	}
	which -= 9
	one := rapid.SampledFrom(h.made).Draw(h.r, "one")
	if !h.exists(one) {
		return
	}
	later := h.date()
	document, err := json.Marshal(map[string]any{"date": later, "lines": []map[string]string{
		{"account_id": bank.String(), "side": rapid.SampledFrom([]string{"debit", "credit"}).Draw(h.r, "side"), "amount": "20"},
		{"account_id": cash.String(), "side": rapid.SampledFrom([]string{"debit", "credit"}).Draw(h.r, "side"), "amount": "20"},
	}})
	require.NoError(h.r, err)
	reversal := id(20_000 + len(h.facts))
	for i, c := range []struct {
		what string
		act  func() act
	}{
		{"submit", func() act { return submit(one) }},
		{"approve", func() act { return approve(one) }},
		{"reject", func() act { return reject(one) }},
		{"void", func() act { return void(one) }},
		{"expire", func() act { return expire(one) }},
		{"post", func() act { return h.post(one) }},
		{"post a part", func() act { return h.post(one, h.part(one)...) }},
		{"patch", func() act { return patching(ledger.Patch{ID: one, Document: document}) }},
		{"reverse", func() act { return reverse(one, reversal, "") }},
		{"reverse later", func() act { return reverse(one, reversal, later) }},
		{"close", func() act { return shut(cash) }},
		{"reopen", func() act { return reopen(cash) }},
		{"policy", func() act {
			return setPolicy(ledger.NewPolicy{Currency: "EUR", ApprovalAbove: new("200"), ApprovalsNeeded: 1})
		}},
		{"periods", func() act { return closePeriods(rapid.SampledFrom([]string{"", "2026-01-10"}).Draw(h.r, "through")) }},
	} {
		if i == which {
			before := len(h.facts)
			h.do(c.what, c.act())
			if strings.HasPrefix(c.what, "reverse") && len(h.facts) > before {
				h.made = append(h.made, reversal) // it can be reversed, too
			}
		}
	}
}

// exists reports whether a transaction that should be made was made.
func (h *history) exists(id uuid.UUID) bool {
	return slices.ContainsFunc(h.facts, func(f domain.Fact) bool { return f.Stream == ledger.TransactionStream(id) })
}

// replayed folds the facts as they are read from a log, and puts states aside in between that
// can be.
func (h *history) replayed() map[domain.Tag]domain.State {
	states := map[domain.Tag]domain.State{}
	for _, f := range h.facts {
		text, err := json.Marshal(f.Payload)
		require.NoError(h.r, err)
		kind := ledger.Kinds()[slices.IndexFunc(ledger.Kinds(), func(k domain.EventKind) bool { return k.Type == f.Payload.EventType() })]
		f.Payload, err = kind.Decode(kind.SchemaVersion, text)
		require.NoError(h.r, err)
		for _, tag := range append([]domain.Tag{f.Stream}, f.Tags...) {
			state, found := states[tag]
			if !found {
				state = ledger.Folds()[tag.Kind()]
			}
			states[tag] = state.Evolve(f)
			if kept, ok := states[tag].(domain.Kept); ok && rapid.Bool().Draw(h.r, "aside") {
				text, err := kept.Keep()
				require.NoError(h.r, err)
				states[tag], err = kept.Restore(text)
				require.NoError(h.r, err)
			}
		}
	}
	return states
}

// Of any history: after each event money is conserved in each currency, and no account has
// less available than its least on any day; what is refused for want of funds names what would
// break; and what a replay of the log comes to is what the commands were decided on.
func TestAnyHistoryOfABook(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := &history{book: newBook(t), r: r, model: model{held: map[domain.Tag]ledger.Movement{}}}
		h.aboveLimit = true
		for range rapid.IntRange(15, 45).Draw(r, "steps") {
			h.step()
		}
		for tag, state := range h.replayed() {
			live := act{
				boundaries: func(domain.Reader) []domain.Tag { return []domain.Tag{tag} },
				decide: func(reader domain.Reader, _ domain.Meta) (domain.Decision, error) {
					require.Equal(r, reader.State(tag), state, "%s", tag)
					return domain.Decision{}, nil
				},
			}
			h.did(live)
		}
	})
}

package transactions_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// racers are two loops on one log, as two processes have.
type racers struct {
	t     *testing.T
	store *eventstore.Store
	loops []*commands.Loop
}

func newRacers(t *testing.T) *racers {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	r := &racers{t: t, store: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))}
	folds := ledger.Folds()
	maps.Copy(folds, entity.Folds())
	maps.Copy(folds, member.Folds())
	for range 2 {
		loop := commands.New(commands.Options{
			Store: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))),
			Codec: eventstore.NewCodec(slices.Concat(ledger.Kinds(), entity.Kinds(), member.Kinds())...), Folds: folds, Log: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { loop.Run(ctx) })
		t.Cleanup(func() { stop(); running.Wait() })
		r.loops = append(r.loops, loop)
	}
	return r
}

// submit gives a command as somebody to one of the loops.
func (r *racers) submit(loop int, sub string, d domain.Decider) error {
	_, err := r.loops[loop%len(r.loops)].Submit(context.Background(), commands.Submission{Decider: d, Meta: domain.Meta{
		Org: "acme", Actor: domain.Actor{Sub: sub, Person: sub}, Roles: []string{"admin"},
	}})
	return err
}

func (r *racers) done(d domain.Decider) {
	r.t.Helper()
	require.NoError(r.t, r.submit(0, "ana", d))
}

// race gives commands at once, spread over the loops, and returns how each ended: the code
// of a problem, or "".
func (r *racers) race(subs []string, deciders ...domain.Decider) []string {
	codes := make([]string, len(deciders))
	var start, all sync.WaitGroup
	start.Add(1)
	for i, d := range deciders {
		all.Go(func() {
			start.Wait()
			if err := r.submit(i, subs[i%len(subs)], d); err != nil {
				codes[i] = err.Error()
				if p := problem.Of(err); p != nil {
					codes[i] = p.Code
				}
			}
		})
	}
	start.Done()
	all.Wait()
	return codes
}

// openAt opens an account.
func (r *racers) open(id uuid.UUID, least string) {
	r.t.Helper()
	account := ledger.NewAccount{ID: id, Code: id.String(), Name: "n", Kind: ledger.Asset, Currency: "EUR"}
	if least != "" {
		account.MinBalance = &least
	}
	r.done(transactions.OpenAccount{NewAccount: account})
}

// pay moves an amount from one account to another.
func pay(from, to uuid.UUID, amount string) ledger.Draft {
	return ledger.Draft{Date: day, Lines: []ledger.DraftLine{
		{AccountID: to.String(), Side: "debit", Amount: amount}, {AccountID: from.String(), Side: "credit", Amount: amount},
	}}
}

func newTransaction(action string, d ledger.Draft) transactions.CreateTransaction {
	return create(uuid.Must(uuid.NewV7()), action, d)
}

func count(codes []string, code string) (n int) {
	for _, c := range codes {
		if c == code {
			n++
		}
	}
	return n
}

// 64 parallel debits of 1 on a balance of 10: exactly 10 succeed, over two processes, a
// hundred rounds.
func TestParallelDebitsNeverOverdraw(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	outside := uuid.Must(uuid.NewV7())
	r.open(outside, "")
	for round := range 100 {
		purse := uuid.Must(uuid.NewV7())
		r.open(purse, "0")
		r.done(newTransaction("post", pay(outside, purse, "10")))
		var debits []domain.Decider
		for range 64 {
			debits = append(debits, newTransaction("post", pay(purse, outside, "1")))
		}
		codes := r.race([]string{"ana"}, debits...)
		require.Equal(t, 10, count(codes, ""), "round %d: %v", round, codes)
		require.Equal(t, 54, count(codes, "insufficient_funds"), "round %d: %v", round, codes)
	}
}

// Of actions that exclude each other exactly one is done, and whatever the order, what the
// transaction has become is what the winners say.
func TestRacesOverATransaction(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	purse, outside := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	r.open(purse, "0")
	r.open(outside, "")
	r.done(newTransaction("post", pay(outside, purse, "1000000")))
	limit := "0"
	r.done(transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: "EUR", ApprovalAbove: &limit, ApprovalsNeeded: 1}})
	expiry := time.Now().Add(time.Hour)

	approved := func() uuid.UUID {
		d := pay(purse, outside, "1")
		d.ExpiresAt = &expiry
		c := newTransaction("submit", d)
		r.done(c)
		require.NoError(t, r.submit(1, "bob", transactions.ApproveTransaction{ID: c.ID}))
		return c.ID
	}
	for name, test := range map[string]struct {
		begin func() uuid.UUID
		race  func(uuid.UUID) []domain.Decider
		check func(codes []string, state ledger.Transaction) error
	}{
		"void against post": {
			begin: approved,
			race: func(id uuid.UUID) []domain.Decider {
				return []domain.Decider{transactions.VoidTransaction{ID: id}, postIt(id), transactions.VoidTransaction{ID: id}, postIt(id)}
			},
			check: func(codes []string, state ledger.Transaction) error {
				if count(codes, "") != 1 || count(codes, "invalid_state") != 3 || (state.Status == ledger.StatusVoided) != (codes[0] == "" || codes[2] == "") {
					return fmt.Errorf("%v, and it is %s", codes, state.Status)
				}
				return nil
			},
		},
		"reverse twice": {
			begin: func() uuid.UUID { id := approved(); r.done(postIt(id)); return id },
			race: func(id uuid.UUID) []domain.Decider {
				var all []domain.Decider
				for range 6 {
					all = append(all, reverse(id, uuid.Must(uuid.NewV7()), ""))
				}
				return all
			},
			check: func(codes []string, state ledger.Transaction) error {
				if count(codes, "") != 1 || count(codes, "invalid_state") != 5 || state.Status != ledger.StatusReversed {
					return fmt.Errorf("%v, and it is %s", codes, state.Status)
				}
				return nil
			},
		},
		"approve against edit": {
			begin: func() uuid.UUID { c := newTransaction("submit", pay(purse, outside, "1")); r.done(c); return c.ID },
			race: func(id uuid.UUID) []domain.Decider {
				return []domain.Decider{
					transactions.ApproveTransaction{ID: id},
					transactions.PatchTransaction{Patch: ledger.Patch{ID: id, Document: []byte(`{"description":"edited"}`)}},
				}
			},
			check: func(codes []string, state ledger.Transaction) error {
				// The edit came first, and what was approved is what was edited; or it came too late.
				edited := codes[1] == ""
				if codes[0] != "" || (codes[1] != "" && codes[1] != "invalid_state") || state.Status != ledger.StatusApproved || edited != (state.Content.Description.Clear == "edited") {
					return fmt.Errorf("%v, and it is %s, %q", codes, state.Status, state.Content.Description.Clear)
				}
				return nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				id := test.begin()
				codes := r.race([]string{"bob", "carl"}, test.race(id)...)
				require.NoError(t, test.check(codes, r.state(id)))
			}
		})
	}
}

// Expiry against posting, by two processes whose clocks differ by as little as they can: one
// of the two is done, whichever comes first, and the other is told so.
func TestExpiryAgainstPost(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	purse, outside := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	r.open(purse, "0")
	r.open(outside, "")
	r.done(newTransaction("post", pay(outside, purse, "1000")))
	for round := range 100 {
		until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
		d := pay(purse, outside, "1")
		d.ExpiresAt = &until
		c := newTransaction("submit", d)
		r.done(c)
		var start, all sync.WaitGroup
		start.Add(1)
		var posting, expiring error
		for i, act := range []func(*commands.Loop){
			func(l *commands.Loop) {
				_, posting = l.Submit(context.Background(), at(until.Add(-time.Microsecond), postIt(c.ID)))
			},
			func(l *commands.Loop) {
				_, expiring = l.Submit(context.Background(), at(until, transactions.ExpireTransaction{ID: c.ID}))
			},
		} {
			all.Go(func() {
				start.Wait()
				act(r.loops[(i+round)%2])
			})
		}
		start.Done()
		all.Wait()
		require.NoError(t, expiring, "it does nothing where it comes too late")
		if posting == nil {
			require.Equal(t, ledger.StatusPosted, r.state(c.ID).Status)
			continue
		}
		require.Equal(t, "invalid_state", problem.Of(posting).Code)
		require.Equal(t, ledger.StatusExpired, r.state(c.ID).Status)
		r.done(newTransaction("post", pay(purse, outside, "1"))) // what it held is free
	}
	// A hundred times 1 were spent, by the ones or the others.
	require.Error(t, r.submit(0, "ana", newTransaction("post", pay(purse, outside, "900.01"))))
	r.done(newTransaction("post", pay(purse, outside, "900")))
}

// at is a command of an approver at a time.
func at(now time.Time, d domain.Decider) commands.Submission {
	return commands.Submission{Decider: d, Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{"admin"}, Now: now}}
}

// The reversal of a reversal, and the two racing: each transaction is taken back once.
func TestReversalsOfReversalsRacing(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	purse, outside := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	r.open(purse, "0")
	r.open(outside, "")
	for range 10 {
		first := newTransaction("post", pay(outside, purse, "5"))
		r.done(first)
		back := uuid.Must(uuid.NewV7())
		r.done(reverse(first.ID, back, ""))
		var again []domain.Decider
		for range 4 {
			again = append(again, reverse(back, uuid.Must(uuid.NewV7()), ""), reverse(first.ID, uuid.Must(uuid.NewV7()), ""))
		}
		codes := r.race([]string{"ana"}, again...)
		require.Equal(t, 1, count(codes, ""), "%v", codes)
		require.Equal(t, 7, count(codes, "invalid_state"), "%v", codes)
		// 5 is there again, and no more.
		require.Error(t, r.submit(0, "ana", newTransaction("post", pay(purse, outside, "5.01"))))
		r.done(newTransaction("post", pay(purse, outside, "5")))
	}
}

// state folds the transaction from the log.
func (r *racers) state(id uuid.UUID) ledger.Transaction {
	r.t.Helper()
	codec := eventstore.NewCodec(ledger.Kinds()...)
	events, err := r.store.Read(context.Background(), "acme", eventstore.Query{Stream: ledger.TransactionStream(id)})
	require.NoError(r.t, err)
	var state domain.State = ledger.Transaction{}
	for _, e := range events {
		fact, err := codec.Fact(e)
		require.NoError(r.t, err)
		state = state.Evolve(fact)
	}
	return state.(ledger.Transaction)
}

// An external_ref that arrives many times together makes one transaction.
func TestOneExternalRefArrivingTogether(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	purse, outside := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	r.open(purse, "0")
	r.open(outside, "")
	for round := range 10 {
		d := pay(outside, purse, "1")
		d.ExternalRef = fmt.Sprint("inv-", round)
		var same []domain.Decider
		for range 16 {
			same = append(same, newTransaction("post", d))
		}
		require.Equal(t, 16, count(r.race([]string{"ana"}, same...), ""))
	}
	require.Error(t, r.submit(0, "ana", newTransaction("post", pay(purse, outside, "10.01"))))
	r.done(newTransaction("post", pay(purse, outside, "10")))
}

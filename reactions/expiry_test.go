package reactions

import (
	"context"
	"log/slog"
	"maps"
	"slices"
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
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/telemetry"
	"github.com/reactdjango-hub/backend/projections"
)

// Transactions that are not posted in time expire, each once, and their money is free; those
// that were posted, or given more time, do not.
func TestTransactionsExpire(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	codec := eventstore.NewCodec(slices.Concat(ledger.Kinds(), entity.Kinds(), member.Kinds())...)
	folds := ledger.Folds()
	maps.Copy(folds, entity.Folds())
	maps.Copy(folds, member.Folds())
	store := eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))
	loop := commands.New(commands.Options{Store: store, Codec: codec, Folds: folds, Log: slog.New(slog.DiscardHandler)})
	pool := hubtest.Pool(t, url, string(eventstore.RoleProjector))
	clock := &clock{now: at(0)}
	views := projections.New(projections.Options{
		Pool: pool, Store: eventstore.New(pool), Codec: codec, Log: slog.New(slog.DiscardHandler),
		Projections: []projections.Projection{projections.Timers(projections.TimerKinds())},
	})
	engine := newEngine(Options{
		Pool: pool, Store: eventstore.New(pool), Codec: codec, Submit: loop.Submit, LeaseTTL: time.Second, Now: clock.Now,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: telemetry.New("test"),
	}, nil, Timers()...)
	for _, run := range []func(context.Context){loop.Run, func(ctx context.Context) { _ = views.Run(ctx) }, func(ctx context.Context) { _ = engine.Run(ctx) }} {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); run(ctx) }()
		t.Cleanup(func() { stop(); hubtest.Wait(t, patience, "a part to stop", ended) })
	}

	do := func(d domain.Decider) {
		t.Helper()
		_, err := loop.Submit(t.Context(), commands.Submission{Decider: d, Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Now: clock.Now()}})
		require.NoError(t, err)
	}
	var accounts []string
	for _, code := range []string{"1", "2"} {
		id := uuid.Must(uuid.NewV7())
		accounts = append(accounts, id.String())
		do(transactions.OpenAccount{NewAccount: ledger.NewAccount{ID: id, Code: code, Name: code, Kind: ledger.Asset, Currency: "EUR"}})
	}
	made := func(action string, minutes int) uuid.UUID {
		t.Helper()
		id, due := uuid.Must(uuid.NewV7()), at(minutes)
		do(transactions.CreateTransaction{NewTransaction: ledger.NewTransaction{ID: id, Action: action, Draft: ledger.Draft{Date: "2031-05-01", ExpiresAt: &due, Lines: []ledger.DraftLine{
			{AccountID: accounts[0], Side: "debit", Amount: "1"}, {AccountID: accounts[1], Side: "credit", Amount: "1"},
		}}}})
		return id
	}
	drafted, submitted, posted, later := made("draft", 10), made("submit", 10), made("submit", 10), made("draft", 10)
	do(transactions.PostTransaction{Posting: ledger.Posting{ID: posted}})
	do(transactions.PatchTransaction{Patch: ledger.Patch{ID: later, Document: []byte(`{"expires_at":null}`)}})
	last := made("draft", 20)
	events := func(id uuid.UUID) (types []string) {
		t.Helper()
		all, err := store.Read(t.Context(), "acme", eventstore.Query{Stream: ledger.TransactionStream(id)})
		require.NoError(t, err)
		for _, e := range all {
			types = append(types, e.Type)
		}
		return types
	}
	until := func(id uuid.UUID, want ...string) {
		t.Helper()
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for waited := time.After(patience); !slices.Equal(events(id), want); {
			select {
			case <-ticker.C:
			case <-waited:
				t.Fatalf("waited in vain: %v", events(id))
			}
		}
	}
	clock.set(10)
	until(drafted, "transaction.drafted", "transaction.expired")
	until(submitted, "transaction.submitted", "transaction.expired")
	clock.set(20) // what fires then fires after all that was due before
	until(last, "transaction.drafted", "transaction.expired")
	require.Equal(t, []string{"transaction.submitted", "transaction.posted"}, events(posted))
	require.Equal(t, []string{"transaction.drafted", "transaction.updated"}, events(later))
	require.Len(t, events(drafted), 2)
}

package transactions_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// A rule that changes while others post divides them: what is posted comes before it in the
// log, and whoever comes after it is refused.
func TestRulesThatChangeWhileOthersPost(t *testing.T) {
	t.Parallel()
	r := newRacers(t)
	give := func(org string, loop int, d domain.Decider) (commands.Receipt, error) {
		return r.loops[loop%len(r.loops)].Submit(context.Background(), commands.Submission{Decider: d, Meta: domain.Meta{
			Org: org, Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{"admin"},
		}})
	}
	policy := func(above *string) domain.Decider {
		return transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: "EUR", ApprovalAbove: above, ApprovalsNeeded: 1}}
	}
	for code, rule := range map[string]struct {
		change, undo func(account uuid.UUID) domain.Decider
	}{
		"account_closed": {
			func(account uuid.UUID) domain.Decider { return transactions.CloseAccount{ID: account} },
			func(account uuid.UUID) domain.Decider { return transactions.ReopenAccount{ID: account} },
		},
		"period_closed": {
			func(uuid.UUID) domain.Decider { return transactions.ClosePeriods{Through: new(day)} },
			func(uuid.UUID) domain.Decider { return transactions.ClosePeriods{} },
		},
		"approval_required": {
			func(uuid.UUID) domain.Decider { return policy(new("0.99")) },
			func(uuid.UUID) domain.Decider { return policy(nil) },
		},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			from, to := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
			for _, id := range []uuid.UUID{from, to} {
				_, err := give(code, 0, transactions.OpenAccount{NewAccount: ledger.NewAccount{ID: id, Code: id.String(), Name: "n", Kind: ledger.Asset, Currency: "EUR"}})
				require.NoError(t, err)
			}
			for range 20 {
				const posts = 12
				receipts, errs := make([]commands.Receipt, posts), make([]error, posts)
				var changed commands.Receipt
				var failed error
				var all sync.WaitGroup
				start := make(chan struct{})
				for i := range posts {
					all.Go(func() { <-start; receipts[i], errs[i] = give(code, i, newTransaction("post", pay(from, to, "1"))) })
				}
				all.Go(func() { <-start; changed, failed = give(code, 1, rule.change(from)) })
				close(start)
				all.Wait()
				require.NoError(t, failed)
				for i, err := range errs {
					if err == nil {
						require.Less(t, receipts[i].Position, changed.Position)
						continue
					}
					p := problem.Of(err)
					require.NotNil(t, p, "%v", err)
					require.Equal(t, code, p.Code)
				}
				_, err := give(code, 0, newTransaction("post", pay(from, to, "1")))
				require.Equal(t, code, problem.Of(err).Code)
				_, err = give(code, 1, rule.undo(from))
				require.NoError(t, err)
			}
		})
	}
}

package transactions_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

func batch(first int, drafts ...ledger.Draft) transactions.CreateTransactions {
	c := transactions.CreateTransactions{First: transactions.BatchID(id(first), 0)}
	for _, d := range drafts {
		c.Items = append(c.Items, ledger.NewTransaction{Draft: d, Action: "post"})
	}
	return c
}

func TestABatchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	in, out := draft(day, "debit bank 5, credit sales 5"), draft(day, "debit cash 5, credit bank 5")
	require.Equal(t, 2, b.refused("insufficient_funds", batch(20000, in, out, out))["index"])
	c := batch(20000, in, out, in)
	first := ledger.TransactionStream(c.First)
	o := b.When(c).Resource(c.First.String(), first, true)
	require.NoError(t, o.Err)
	require.Len(t, o.Decision.Facts, 3)
	require.Equal(t, []domain.Tag{first, ledger.TransactionStream(transactions.BatchID(c.First, 1)), ledger.TransactionStream(transactions.BatchID(c.First, 2))}, c.Fresh())
	for i, id := range transactions.BatchIDs(o.Decision.ResourceID, 3) {
		require.Equal(t, string(o.Decision.Facts[i].Stream), "transaction:"+id)
	}
	require.Equal(t, 0, b.refused("conflict", c)["index"])
	require.Equal(t, []string{"x"}, transactions.BatchIDs("x", 1))
}

// What was made before is told by its references, as a whole.
func TestABatchThatWasMadeBefore(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	one, two := draft(day, "debit cash 1, credit sales 1"), draft(day, "debit cash 2, credit sales 2")
	one.ExternalRef, two.ExternalRef = "one", "two"
	made := b.did(batch(20000, one, two)).Decision
	again := b.When(batch(30000, one, two))
	again.ThenNothing()
	require.False(t, again.Decision.Created)
	require.Equal(t, transactions.BatchIDs(made.ResourceID, 2), transactions.BatchIDs(again.Decision.ResourceID, 2))
	require.Equal(t, 1, b.refused("external_ref_taken", batch(30000, one, draft(day, "debit cash 1, credit sales 1")))["index"])
	require.Equal(t, 1, b.refused("external_ref_taken", batch(30000, draft(day, "debit cash 1, credit sales 1"), one))["index"])
	three := draft(day, "debit cash 1, credit sales 1")
	three.ExternalRef = "three"
	four := draft(day, "debit cash 1, credit sales 1")
	require.Equal(t, 2, b.refused("external_ref_taken", batch(30000, four, three, three))["index"])
	require.ErrorContains(t, b.When(batch(30000, four, three, three)).Err, "The item with index 1 has the same external_ref")
	require.ErrorContains(t, b.When(batch(30000, four, one)).Err, "A part of the batch has been made before")
}

func TestAFaultOfABatchIsNoProblem(t *testing.T) {
	t.Parallel()
	fault := errors.New("a fault of ours")
	require.Equal(t, fault, transactions.At(fault, 1))
}

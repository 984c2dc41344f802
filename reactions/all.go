package reactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// All are the reactions of the product. A new one is a line here.
func All() []Reaction {
	return []Reaction{}
}

// Timers are the timers of the product: those of projections.TimerKinds, each with its
// command. A new one is a line here and one there.
func Timers() []Timer {
	return []Timer{{ledger.Expiry(), expireTransaction}}
}

func expireTransaction(d DueTimer) domain.Decider {
	id, _ := uuid.Parse(d.Key) // it was made of one; of no id there is no transaction
	return transactions.ExpireTransaction{ID: id}
}

package transactions

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// ClosePeriods closes the books up to a date, so that nothing is posted before.
//
// Permission: transaction_rules.write. Reads: the closed periods.
type ClosePeriods struct {
	// Through is the last closed date, nil to open all.
	Through *string
}

// Boundaries names what the decision depends on.
func (c ClosePeriods) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{ledger.PeriodsStream()}
}

// Decide closes the periods.
func (c ClosePeriods) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	stream := ledger.PeriodsStream()
	if version := r.Version(stream); m.IfMatch != nil && *m.IfMatch != version {
		return domain.Decision{}, problem.StaleVersion(version)
	}
	facts, err := ledger.ClosePeriods(domain.Read[ledger.Periods](r, stream), c.Through)
	return domain.Decision{ResourceID: stream.Name(), Stream: stream, Facts: facts}, err
}

package transactions

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// SetPolicy says which transactions in a currency need approval.
//
// Permission: transaction_rules.write. Reads: the policy of the currency.
type SetPolicy struct{ ledger.NewPolicy }

// Boundaries names what the decision depends on.
func (c SetPolicy) Boundaries(domain.Reader) []domain.Tag {
	if !domain.KnownCurrency(c.Currency) {
		return nil
	}
	return []domain.Tag{ledger.PolicyStream(c.Currency)}
}

// Decide sets the policy.
func (c SetPolicy) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	var current ledger.Policy
	stream := ledger.PolicyStream(c.Currency)
	if domain.KnownCurrency(c.Currency) {
		current = domain.Read[ledger.Policy](r, stream)
		if version := r.Version(stream); m.IfMatch != nil && *m.IfMatch != version {
			return domain.Decision{}, problem.StaleVersion(version)
		}
	}
	facts, err := c.NewPolicy.Decide(current)
	return domain.Decision{ResourceID: c.Currency, Stream: stream, Facts: facts}, err
}

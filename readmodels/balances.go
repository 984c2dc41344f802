package readmodels

import (
	"context"
	"math/big"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// Balance is what was on an account at the end of a date.
type Balance struct {
	Date    string `json:"date" format:"date" doc:"The last date whose entries count." example:"2026-01-31"`
	Balance string `json:"balance" doc:"What they come to." example:"1250.00"`
}

// BalanceHistory is the balances of an account over a time.
type BalanceHistory struct {
	Currency string    `json:"currency" doc:"That of the account." example:"EUR"`
	Items    []Balance `json:"items" doc:"One for each day or month, in order; also for those without entries."`
}

// MaxBalances is how many balances one history has: more than a year of days.
const MaxBalances = 500

// Balances gives what was on an account at the end of each of some dates, which are in order
// and at most MaxBalances, as far as it was known at a time (nil: now). Problem: not_found
// (NotFound).
func (s *Store) Balances(ctx context.Context, org string, account uuid.UUID, dates []ledger.Date, known *time.Time) (BalanceHistory, Snapshot, error) {
	days := make([]time.Time, len(dates))
	for i, date := range dates {
		days[i] = date.Time()
	}
	last := Point{AsOf: &dates[len(dates)-1], KnownAt: known}
	var kind, currency *string
	var changes []*big.Int
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		kind, currency, changes = nil, nil, make([]*big.Int, len(dates))
		args := arguments{ledgerView, org, account, days}
		// A sum belongs to the first of the dates that it counts at: behind so many that are before it.
		sql := `SELECT ` + heads + `, a.kind, a.currency, b.place, b.net::text
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.accounts a ON a.org = $2 AND a.id = $3
				LEFT JOIN (
					SELECT width_bucket(x.date - 1, $4::date[]) AS place, sum(x.debit - x.credit) AS net
					  FROM (` + last.sums(schema, `s.org = $2 AND s.account_id = $3`, &args) + `) x GROUP BY 1
				) b ON true`
		return statement{
			sql: sql, args: args, planned: true,
			row: func(scan func(...any) error) error {
				var place *int
				var net *string
				if err := scan(&kind, &currency, &place, &net); err != nil || place == nil {
					return err
				}
				changes[*place] = whole(net)
				return nil
			},
		}
	})
	if err == nil && kind == nil {
		err = noAccount()
	}
	if err != nil {
		return BalanceHistory{}, at, err
	}
	history, sum := BalanceHistory{Currency: *currency, Items: make([]Balance, len(dates))}, new(big.Int)
	for i, date := range dates {
		if changes[i] != nil {
			sum.Add(sum, changes[i])
		}
		history.Items[i] = Balance{date.String(), shownSum(natural(*kind, sum), *currency)}
	}
	return history, at, nil
}

package readmodels

import (
	"context"
	"math/big"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// maxTrialBalance bounds the accounts of a trial balance; a chart of accounts has hundreds.
const maxTrialBalance = 10_000

// TrialBalance is what every account has on it at a point, on the side where it stands.
type TrialBalance struct {
	Items     []TrialBalanceItem  `json:"items" doc:"The accounts that have had entries, by code."`
	Totals    []TrialBalanceTotal `json:"totals" doc:"The sums of both sides, which are equal in each currency; of all accounts, also when items are not all."`
	Truncated bool                `json:"truncated" doc:"true when there are more accounts than items."`
}

// TrialBalanceItem is one account of a trial balance.
type TrialBalanceItem struct {
	AccountID uuid.UUID `json:"account_id" doc:"The account."`
	Code      string    `json:"code" doc:"Its code." example:"1000"`
	Name      string    `json:"name" doc:"Its name." example:"Bank"`
	Kind      string    `json:"kind" enum:"asset,liability,equity,income,expense" doc:"Its kind."`
	TrialBalanceTotal
}

// TrialBalanceTotal is a pair of sums.
type TrialBalanceTotal struct {
	Currency string `json:"currency" doc:"Code of ISO 4217." example:"EUR"`
	Debit    string `json:"debit" doc:"What is on the debit side." example:"1250.00"`
	Credit   string `json:"credit" doc:"What is on the credit side." example:"0.00"`
}

// TrialBalance gives the trial balance of an organisation at a point on both axes.
func (s *Store) TrialBalance(ctx context.Context, org string, point Point) (TrialBalance, Snapshot, error) {
	var (
		balance TrialBalance
		debits  map[string]*big.Int
		credits map[string]*big.Int
		order   []string
	)
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		balance, order = TrialBalance{Items: []TrialBalanceItem{}, Totals: []TrialBalanceTotal{}}, nil
		debits, credits = map[string]*big.Int{}, map[string]*big.Int{}
		args := arguments{ledgerView, org}
		sql := `SELECT ` + heads + `, a.id, a.code, a.name, a.kind, a.currency, (b.debit - b.credit)::text
				FROM ` + pointed + ` LEFT JOIN (` + point.everyTotal(schema, &args) + `
				) b ON true LEFT JOIN ` + schema + `.accounts a ON a.org = $2 AND a.id = b.account_id ORDER BY a.currency, a.code`
		return statement{
			sql: sql, args: args, planned: true,
			row: func(scan func(...any) error) error {
				var (
					id                              *uuid.UUID
					code, name, kind, currency, net *string
				)
				if err := scan(&id, &code, &name, &kind, &currency, &net); err != nil || id == nil {
					return err
				}
				if debits[*currency] == nil {
					debits[*currency], credits[*currency] = new(big.Int), new(big.Int)
					order = append(order, *currency)
				}
				debit, credit := whole(net), new(big.Int)
				if debit.Sign() < 0 {
					debit, credit = credit, new(big.Int).Neg(debit)
				}
				debits[*currency].Add(debits[*currency], debit)
				credits[*currency].Add(credits[*currency], credit)
				if len(balance.Items) == maxTrialBalance {
					balance.Truncated = true
					return nil
				}
				balance.Items = append(balance.Items, TrialBalanceItem{*id, *code, *name, *kind, TrialBalanceTotal{
					*currency, shownSum(debit, *currency), shownSum(credit, *currency),
				}})
				return nil
			},
		}
	})
	if err != nil {
		return TrialBalance{}, at, err
	}
	for _, currency := range order {
		balance.Totals = append(balance.Totals, TrialBalanceTotal{currency, shownSum(debits[currency], currency), shownSum(credits[currency], currency)})
	}
	return balance, at, nil
}

// everyTotal selects what every account with entries has on it: account_id, debit, credit.
func (p Point) everyTotal(schema string, args *arguments) string {
	if p.now() {
		return `
					SELECT t.account_id, t.debit, t.credit FROM ` + schema + `.account_totals t WHERE t.org = $2 AND (t.debit > 0 OR t.credit > 0)`
	}
	return `
					SELECT x.account_id, sum(x.debit) AS debit, sum(x.credit) AS credit FROM (` + p.sums(schema, `s.org = $2`, args) + `) x
					 GROUP BY x.account_id`
}

// Policy is the rule about approval of transactions in a currency.
type Policy struct {
	Currency        string  `json:"currency" doc:"Code of ISO 4217." example:"EUR"`
	ApprovalAbove   *string `json:"approval_above" nullable:"true" doc:"The greatest amount that needs no approval; null when nothing does." example:"1000.00"`
	ApprovalsNeeded int     `json:"approvals_needed" doc:"How many persons must approve what is above." example:"1"`
	Version         int64   `json:"version" doc:"Counts the changes." example:"1"`
}

// NewPolicy shows a policy after so many changes.
func NewPolicy(p ledger.Policy, version int64) Policy {
	shown := Policy{Currency: p.Currency, ApprovalsNeeded: p.Needed, Version: version}
	if p.Above != nil {
		above := ledger.FormatMinor(*p.Above, p.Currency)
		shown.ApprovalAbove = &above
	}
	return shown
}

// PolicyPage is all policies; there are at most as many as currencies.
type PolicyPage struct {
	Items []Policy `json:"items" doc:"The policies, by currency."`
}

// Policies lists the policies of an organisation, or that of a currency.
func (s *Store) Policies(ctx context.Context, org, currency string) (PolicyPage, Snapshot, error) {
	var page PolicyPage
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		page = PolicyPage{Items: []Policy{}}
		return statement{
			sql: `SELECT ` + heads + `, y.currency, y.approval_above, y.approvals_needed, y.version
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.policies y ON y.org = $2 AND ($3::text = '' OR y.currency = $3) ORDER BY y.currency`,
			args: []any{ledgerView, org, currency},
			row: func(scan func(...any) error) error {
				var (
					currency, above *string
					needed          *int
					version         *int64
				)
				if err := scan(&currency, &above, &needed, &version); err != nil || currency == nil {
					return err
				}
				policy := Policy{Currency: *currency, ApprovalsNeeded: *needed, Version: *version}
				if *above != "" {
					policy.ApprovalAbove = above
				}
				page.Items = append(page.Items, policy)
				return nil
			},
		}
	})
	return page, at, err
}

// Periods says how far the books are closed.
type Periods struct {
	ClosedThrough *string `json:"closed_through" nullable:"true" format:"date" doc:"The last date that nothing can be posted on; null when none is closed." example:"2026-01-31"`
	Version       int64   `json:"version" doc:"Counts the changes; also its ETag." example:"1"`
}

// NewPeriods shows closed periods after so many changes.
func NewPeriods(p ledger.Periods, version int64) Periods {
	shown := Periods{Version: version}
	if p.ClosedThrough != nil {
		through := p.ClosedThrough.String()
		shown.ClosedThrough = &through
	}
	return shown
}

// Periods reads how far the books of an organisation are closed.
func (s *Store) Periods(ctx context.Context, org string) (Periods, Snapshot, error) {
	var periods Periods
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		periods = Periods{}
		return statement{
			sql:  `SELECT ` + heads + `, o.closed_through, coalesce(o.version, 0) FROM ` + pointed + ` LEFT JOIN ` + schema + `.periods o ON o.org = $2`,
			args: []any{ledgerView, org},
			row: func(scan func(...any) error) error {
				var through *time.Time
				err := scan(&through, &periods.Version)
				if through != nil {
					date := through.Format(time.DateOnly)
					periods.ClosedThrough = &date
				}
				return err
			},
		}
	})
	return periods, at, err
}

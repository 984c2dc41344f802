package readmodels

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// maxExplained bounds the events of an explanation; transactions have a handful.
const maxExplained = 1000

// Explanation is the events of a transaction, and the entries that each of them has made.
type Explanation struct {
	ID        uuid.UUID        `json:"id" doc:"The transaction's id."`
	Status    string           `json:"status" doc:"Where the events have brought it." example:"posted"`
	Events    []ExplainedEvent `json:"events" doc:"Its events, in order."`
	Truncated bool             `json:"truncated" doc:"true when it has more events than are here."`
	Version   int64            `json:"version" doc:"Counts its events." example:"2"`
}

// ExplainedEvent is one event of a transaction.
type ExplainedEvent struct {
	Position int64            `json:"position" doc:"Its position in the log." example:"4711"`
	Type     string           `json:"type" doc:"Its type." example:"transaction.posted"`
	At       time.Time        `json:"at" doc:"When it was recorded."`
	By       string           `json:"by" doc:"Who caused it." example:"ana"`
	Entries  []ExplainedEntry `json:"entries" doc:"What it has put on accounts."`
}

// ExplainedEntry is one entry that an event has made.
type ExplainedEntry struct {
	AccountID uuid.UUID `json:"account_id" doc:"The account."`
	Code      string    `json:"code" doc:"Its code." example:"1000"`
	Date      string    `json:"date" format:"date" doc:"When it took effect." example:"2026-01-31"`
	Side      string    `json:"side" enum:"debit,credit" doc:"The side that it stands on."`
	Amount    string    `json:"amount" doc:"The amount." example:"50.00"`
	Currency  string    `json:"currency" doc:"Its currency." example:"EUR"`
}

// Explain gives the events behind the numbers of a transaction. Its entries are looked for
// on the accounts of its lines, by their key. Problem: NotFound not_found.
func (s *Store) Explain(ctx context.Context, org string, id uuid.UUID) (Explanation, Snapshot, error) {
	var found Explanation
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		found = Explanation{ID: id, Events: []ExplainedEvent{}}
		return statement{
			sql: `SELECT ` + heads + `, t.status, t.version, v.position, v.type, v.at, v.by, a.id, a.code, e.date, e.side, e.amount, a.currency
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.transactions t ON t.org = $2 AND t.id = $3
				LEFT JOIN LATERAL (
					SELECT * FROM ` + schema + `.transaction_events v WHERE v.org = $2 AND v.transaction_id = $3 ORDER BY v.version LIMIT $4
				) v ON true
				LEFT JOIN LATERAL (
					SELECT e.* FROM (SELECT DISTINCT (line->>'account_id')::uuid AS id FROM json_array_elements(t.lines) line) n CROSS JOIN LATERAL (
						SELECT * FROM ` + schema + `.entries e
						 WHERE e.org = $2 AND e.account_id = n.id AND e.date = t.date AND e.position = v.position OFFSET 0
					) e OFFSET 0 -- so that it stays a look-up for each event and each account
				) e ON true
				LEFT JOIN ` + schema + `.accounts a ON a.org = $2 AND a.id = e.account_id
				ORDER BY v.version, e.line`,
			args:    []any{ledgerView, org, id, maxExplained},
			planned: true,
			row:     found.scan,
		}
	})
	if err == nil && found.Status == "" {
		err = noTransaction()
	}
	found.Truncated = found.Version > maxExplained
	return found, at, err
}

func (x *Explanation) scan(scan func(...any) error) error {
	var (
		status, kind, by, code, side, currency *string
		version, position, amount              *int64
		at, date                               *time.Time
		account                                *uuid.UUID
	)
	if err := scan(&status, &version, &position, &kind, &at, &by, &account, &code, &date, &side, &amount, &currency); err != nil || status == nil {
		return err
	}
	x.Status, x.Version = *status, *version
	if position == nil {
		return nil
	}
	if n := len(x.Events); n == 0 || x.Events[n-1].Position != *position {
		x.Events = append(x.Events, ExplainedEvent{Position: *position, Type: *kind, At: at.UTC(), By: *by, Entries: []ExplainedEntry{}})
	}
	if account != nil {
		event := &x.Events[len(x.Events)-1]
		event.Entries = append(event.Entries, ExplainedEntry{
			*account, *code, date.Format(time.DateOnly), *side, ledger.FormatMinor(*amount, *currency), *currency,
		})
	}
	return nil
}

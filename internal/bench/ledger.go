package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	// ledgerAccounts are those that transactions are spread over, and bulkSize is how many
	// transactions a bulk has.
	ledgerAccounts = 500
	bulkSize       = 1000
	// statementEntries are on the account whose statement is read, in transactions of
	// statementLines entries on it.
	statementEntries = 1_000_000
	statementLines   = 400
	// maxStatementP99 is the goal for a balance and for a page, in seconds.
	maxStatementP99 = 0.020
)

// books are accounts on the hub: those that transactions are spread over, one with a least
// balance that is in every transaction, and one with a long statement.
type books struct {
	accounts       []string
	hot, statement string
	long           bool
}

func ledgerScenarios() []scenario {
	return []scenario{
		{name: "posting", about: "POST /transactions, two lines, 500 accounts", against: "B", atLeast: 1, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.posting(ctx, false) }},
		{name: "posting-hot", about: "the same with one account that has a least balance in each", against: "posting", atLeast: 0.8, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.posting(ctx, true) }},
		{name: "posting-bulk", about: "bulks of 1,000 transactions, 4 connections, a transaction an operation", against: "B", atLeast: 4, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.bulk(ctx, "") }},
		{name: "posting-atomic", about: "the same, each bulk all or none", against: "B", atLeast: 4, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.bulk(ctx, "?atomic=true") }},
		{name: "statement", about: "balance, and a page of a statement of a million entries, in turn", needsHub: true, verdict: slowest(maxStatementP99),
			run: func(ctx context.Context, b *bench) (sample, error) { return b.statement(ctx) }},
	}
}

// openBooks opens the accounts, once.
func (b *bench) openBooks(ctx context.Context) error {
	if len(b.books.accounts) > 0 {
		return nil
	}
	open := func(code, rest string) (id string, err error) {
		header, err := b.hub.request(ctx, http.MethodPost, "/api/v1/accounts", `{"code":"`+code+`","name":"Account","kind":"asset","currency":"EUR"`+rest+`}`,
			"Content-Type", "application/json")
		return strings.TrimPrefix(header.Get("Location"), "/api/v1/accounts/"), err
	}
	var err error
	if b.books.hot, err = open("hot", `,"min_balance":"0.00"`); err != nil {
		return err
	}
	if b.books.statement, err = open("statement", ""); err != nil {
		return err
	}
	for i := range ledgerAccounts {
		id, err := open(strconv.Itoa(i), "")
		if err != nil {
			return err
		}
		b.books.accounts = append(b.books.accounts, id)
	}
	return nil
}

// twoLines is a transaction of one unit from one account to another.
func twoLines(from, to string) string {
	return `{"date":"2026-01-31","action":"post","lines":[{"account_id":"` + to + `","side":"debit","amount":"1.00"},{"account_id":"` + from + `","side":"credit","amount":"1.00"}]}`
}

// posting posts transactions of two lines; hot debits one account in all of them.
func (b *bench) posting(ctx context.Context, hot bool) (sample, error) {
	if err := b.openBooks(ctx); err != nil {
		return sample{}, err
	}
	return b.onHub(ctx, "send", func(spec *loadSpec) {
		spec.Path = "/api/v1/transactions"
		for i, from := range b.books.accounts {
			to := b.books.accounts[(i+1)%ledgerAccounts]
			if hot {
				to = b.books.hot
			}
			spec.Bodies = append(spec.Bodies, twoLines(from, to))
		}
	})
}

// bulkConnections is few: a bulk is a thousand requests by itself.
const bulkConnections = 4

func (b *bench) bulk(ctx context.Context, query string) (sample, error) {
	if err := b.openBooks(ctx); err != nil {
		return sample{}, err
	}
	var items []string
	for i := range bulkSize {
		items = append(items, twoLines(b.books.accounts[i%ledgerAccounts], b.books.accounts[(i+1)%ledgerAccounts]))
	}
	return b.onHub(ctx, "send", func(spec *loadSpec) {
		spec.Path, spec.Bodies = "/api/v1/transactions/bulk"+query, []string{"[" + strings.Join(items, ",") + "]"}
		spec.Commands, spec.Connections = bulkSize, bulkConnections
	})
}

// statement reads the account with a million entries: its balance, now and of the past,
// and pages of its statement from either end.
func (b *bench) statement(ctx context.Context) (sample, error) {
	if err := b.openBooks(ctx); err != nil {
		return sample{}, err
	}
	if err := b.fillStatement(ctx); err != nil {
		return sample{}, err
	}
	account := "/api/v1/accounts/" + b.books.statement
	return b.onHub(ctx, "get", func(spec *loadSpec) {
		spec.Paths = []string{account, account + "/entries", account + "/entries?sort=-date", account + "?as_of=2026-03-31", account + "/entries?from=2026-06-01"}
		spec.Connections = bulkConnections
	})
}

// fillStatement posts the entries, on every day of a year, and waits for the view.
func (b *bench) fillStatement(ctx context.Context) error {
	if b.books.long {
		return nil
	}
	line := `{"account_id":"` + b.books.statement + `","side":"debit","amount":"0.01"},`
	lines := strings.Repeat(line, statementLines) + `{"account_id":"` + b.books.accounts[0] + `","side":"credit","amount":"` + fmt.Sprintf("%.2f", statementLines/100.0) + `"}`
	const together = 50
	for n := 0; n < statementEntries/statementLines; n += together {
		var items []string
		for i := range together {
			day := (n + i) % 365
			items = append(items, fmt.Sprintf(`{"date":"2026-%02d-%02d","action":"post","lines":[%s]}`, 1+day/31, 1+day%28, lines))
		}
		if _, err := b.hub.request(ctx, http.MethodPost, "/api/v1/transactions/bulk", "["+strings.Join(items, ",")+"]", "Content-Type", "application/json"); err != nil {
			return err
		}
		if err := b.hub.settle(ctx); err != nil {
			return err
		}
	}
	b.books.long = true
	return nil
}

// send asks for one body after the other to be taken by one path.
func (r *requests) send(request []byte) []byte {
	body := r.bodies[r.sent.Add(1)%int64(len(r.bodies))]
	request = append(append(request[:0], "POST "...), r.path...)
	request = append(request, r.head...)
	request = append(request, "Content-Type: application/json\r\nContent-Length: "...)
	request = strconv.AppendInt(request, int64(len(body)), 10)
	return append(append(request, "\r\n\r\n"...), body...)
}

package ledger_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

func TestDraftsThatCannotBeRead(t *testing.T) {
	many := strings.Repeat("debit cash 1, ", 500) + "credit sales 500"
	past, large := domaintest.Now, `"`+strings.Repeat("x", 16<<10)+`"`
	metadata := func(name, value string) func(*ledger.Draft) {
		return func(d *ledger.Draft) { d.Metadata = map[string]json.RawMessage{name: json.RawMessage(value)} }
	}
	for location, changes := range map[string][]func(*ledger.Draft){
		"body.date": {
			func(d *ledger.Draft) { d.Date = "" }, func(d *ledger.Draft) { d.Date = "1899-12-31" }, func(d *ledger.Draft) { d.Date = "2200-01-01" },
			func(d *ledger.Draft) { d.Date = "2026-1-1" }, func(d *ledger.Draft) { d.Date = "2026-02-29" },
		},
		"body.description":  {func(d *ledger.Draft) { d.Description = "a\x00" }, func(d *ledger.Draft) { d.Description = strings.Repeat("ü", 1001) }, func(d *ledger.Draft) { d.Description = "\xff" }},
		"body.external_ref": {func(d *ledger.Draft) { d.ExternalRef = "a\n" }, func(d *ledger.Draft) { d.ExternalRef = strings.Repeat("x", 201) }},
		"body.metadata": {metadata("", "1"), metadata("a", "{"), metadata("a", large), metadata("a", "1e"), func(d *ledger.Draft) {
			d.Metadata = map[string]json.RawMessage{}
			for i := range 51 {
				d.Metadata[fmt.Sprint(i)] = json.RawMessage("1")
			}
		}},
		"body.expires_at":    {func(d *ledger.Draft) { d.ExpiresAt = &past }},
		"body.lines":         {func(d *ledger.Draft) { d.Lines = nil }, func(d *ledger.Draft) { d.Lines = d.Lines[:1] }, func(d *ledger.Draft) { d.Lines = lines(many) }},
		"body.lines/1/side":  {func(d *ledger.Draft) { d.Lines[1].Side = "Credit" }},
		"body.splits/0/side": {func(d *ledger.Draft) { d.Splits = []ledger.Split{{Shares: []ledger.Share{{Share: 1}}}} }},
		"body.splits/0/shares": {func(d *ledger.Draft) { d.Splits = []ledger.Split{{Side: "debit"}} }, func(d *ledger.Draft) {
			d.Splits = []ledger.Split{{Side: "debit", Shares: []ledger.Share{{Share: 0}}}}
		}},
	} {
		for i, change := range changes {
			d := draft(day, "debit cash 1, credit sales 1")
			change(&d)
			p := newBook(t).When(create(tx, "draft", d)).ThenProblem("invalid_transaction")
			require.Len(t, p.Fields, 1, "%s %d", location, i)
			require.Equal(t, location, p.Fields[0].Location)
		}
	}
	newBook(t).refused("invalid_transaction", create(tx, "approve", draft(day, "debit cash 1, credit sales 1")))
}

func TestLinesThatDoNotGoTogether(t *testing.T) {
	for text, code := range map[string]string{
		"debit cash 10, credit sales 9.99":                                  "unbalanced",
		"debit cash 10, debit sales 10":                                     "unbalanced",
		"debit cash 10, credit dollars 10":                                  "currency_mismatch",
		"debit cash 10, credit sales 10, debit dollars 1":                   "currency_mismatch",
		"debit cash 10, credit sales 10, debit dollars 1, credit dollars 2": "unbalanced",
		"debit yen 1.0, credit yen 1":                                       "invalid_amount",
		"debit cash 0, credit sales 0":                                      "invalid_amount",
		"debit cash 9999999999999999.99, debit cash 0.01, credit sales 9999999999999999.99, credit sales 0.01": "invalid_amount",
		"debit cash 92233720368547758.08, credit sales 92233720368547758.08":                                   "invalid_amount",
		"debit 0190aaaa000070008000000000000001 1, credit sales 1":                                             "unknown_account",
		"debit 0190aaaa-0000-7000-8000-000000000099 1, credit sales 1":                                         "unknown_account",
	} {
		newBook(t).refused(code, create(tx, "draft", draft(day, text)))
	}
	d := draft(day, "debit cash 1, credit sales 1")
	d.Lines[0].Currency = "USD"
	newBook(t).refused("currency_mismatch", create(tx, "draft", d))
	d.Lines[0].Currency = "EUR"
	newBook(t).did(create(tx, "draft", d))
}

func TestConversions(t *testing.T) {
	const legs = "debit dollars 100, credit dollars 100, debit cash 92.17, credit cash 92.17"
	for exchange, valid := range map[string]bool{
		"100 USD 0.92166":                  true, // 92.166
		"100.00 USD 0.9217":                true,
		"100 USD 0.921":                    false,
		"99 USD 0.92166":                   false, // no such leg
		"100 EUR 0.92166":                  false,
		"100 XAU 0.92166":                  false,
		"100 USD 0":                        false,
		"100 USD -1":                       false,
		"100 USD 1e2":                      false,
		"1e2 USD 0.92166":                  false,
		"100 USD 99999999999999999999999":  false,
		"100 USD 999999999999999999999.99": false,
	} {
		text := strings.Replace(legs, "debit cash 92.17", "debit cash 92.17 "+exchange, 1)
		if valid {
			newBook(t).did(create(tx, "post", draft(day, text)))
		} else {
			newBook(t).refused("invalid_exchange", create(tx, "post", draft(day, text)))
		}
	}
}

func TestSplits(t *testing.T) {
	split := func(amount string, shares ...ledger.Share) ledger.Draft {
		d := draft(day, "credit sales 0.15")
		d.Splits = []ledger.Split{{Side: "debit", Amount: amount, Shares: shares}}
		return d
	}
	share := func(name string, of int64) ledger.Share {
		return ledger.Share{AccountID: names[name].String(), Share: of}
	}
	b := newBook(t)
	made := b.did(create(tx, "post", split("0.15", share("cash", 80), share("bank", 8), share("loan", 12))))[0].Payload.(ledger.Posted)
	require.Equal(t, "0.13 0.01 0.01", fmt.Sprint(made.Lines[1].Amount, " ", made.Lines[2].Amount, " ", made.Lines[3].Amount))
	small := b.did(create(other, "post", split("0.15", share("cash", 1_000_000_000), share("bank", 1))))[0].Payload.(ledger.Posted)
	require.Len(t, small.Lines, 2, "who gets nothing has no line")
	b.refused("unknown_account", create(id(102), "post", split("0.15", ledger.Share{AccountID: "x", Share: 1})))
	b.refused("currency_mismatch", create(id(102), "post", split("0.15", share("cash", 1), share("dollars", 1))))
	b.refused("invalid_amount", create(id(102), "post", split("0", share("cash", 1), share("bank", 1))))
}

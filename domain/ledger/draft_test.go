package ledger_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestDraftsThatCannotBeRead(t *testing.T) {
	many := strings.Repeat("debit cash 1, ", 500) + "credit sales 500"
	past, large := domaintest.Now, `"`+strings.Repeat("x", 16<<10-2)+`"` // one byte too many, with the name
	share := []ledger.Share{{AccountID: cash.String(), Share: 1}}
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
		"body.metadata": {metadata("", "1"), metadata(strings.Repeat("x", 101), "1"), metadata("a", "{"), metadata("a", large), metadata("a", "1e"), func(d *ledger.Draft) {
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
		}, func(d *ledger.Draft) {
			d.Splits = []ledger.Split{{Side: "debit", Shares: []ledger.Share{{Share: 1_000_000_001}}}}
		}},
		"body.subjects": {
			func(d *ledger.Draft) { d.Subjects = []string{"ana"} },
			func(d *ledger.Draft) { d.Subjects = slices.Repeat([]string{ana.String()}, 101) },
		},
		"body.private": {
			func(d *ledger.Draft) { d.Private = map[string]json.RawMessage{"a": json.RawMessage("1")} },
			func(d *ledger.Draft) {
				d.Private, d.Subjects = map[string]json.RawMessage{"a": json.RawMessage(large)}, []string{ana.String()}
			},
		},
	} {
		for i, change := range changes {
			d := draft(day, "debit cash 1, credit sales 1")
			change(&d)
			p := newBook(t).problem("invalid_transaction", create(tx, "draft", d))
			require.Len(t, p.Fields, 1, "%s %d", location, i)
			require.Equal(t, location, p.Fields[0].Location)
		}
	}
	require.Equal(t, []string{"body.action"}, locations(newBook(t).problem("invalid_transaction", create(tx, "approve", draft(day, "debit cash 1, credit sales 1")))))

	// Each list is looked at as far as it may be long.
	d := draft(day, "debit cash 1, credit sales 1")
	d.Lines, d.Splits = append(d.Lines, make([]ledger.DraftLine, 1000)...), slices.Repeat([]ledger.Split{{Shares: share}}, 1000)
	require.Len(t, newBook(t).problem("invalid_transaction", create(tx, "draft", d)).Fields, 1+498+500)
}

// Whoever goes beyond a limit is told which it is.
func TestDraftsAreToldTheirLimits(t *testing.T) {
	for want, change := range map[string]func(*ledger.Draft){
		"body.lines must be at least two: what one account gives, another gets": func(d *ledger.Draft) { d.Lines = d.Lines[:1] },
		"body.lines must be at most 500, with those of splits":                  func(d *ledger.Draft) { d.Lines = slices.Repeat(d.Lines, 251) },
		"body.description must have at most 1000 characters":                    func(d *ledger.Draft) { d.Description = strings.Repeat("x", 1001) },
		"body.external_ref must have at most 200 characters":                    func(d *ledger.Draft) { d.ExternalRef = strings.Repeat("x", 201) },
		"body.subjects must be at most 100":                                     func(d *ledger.Draft) { d.Subjects = slices.Repeat([]string{ana.String()}, 101) },
		"body.splits/0/shares must be whole numbers from 1 to 1000000000":       func(d *ledger.Draft) { d.Splits = []ledger.Split{{Side: "debit", Shares: make([]ledger.Share, 1)}} },
		"body.metadata must have names of 1 to 100 characters":                  func(d *ledger.Draft) { d.Metadata = map[string]json.RawMessage{"": json.RawMessage("1")} },
		"body.metadata must have at most 50 members and 16384 bytes": func(d *ledger.Draft) {
			d.Metadata = map[string]json.RawMessage{"a": json.RawMessage(`"` + strings.Repeat("x", 16<<10) + `"`)}
		},
	} {
		d := draft(day, "debit cash 1, credit sales 1")
		change(&d)
		p := newBook(t).problem("invalid_transaction", create(tx, "draft", d))
		require.Equal(t, want, p.Fields[0].Location+" "+p.Fields[0].Message)
	}
	require.True(t, ledger.ValidRef(strings.Repeat("x", 200)))
	require.False(t, ledger.ValidRef(strings.Repeat("x", 201)))
}

// What is just within its bounds is taken.
func TestDraftsAtTheirBounds(t *testing.T) {
	b := newBook(t)
	d := draft("1900-01-01", strings.Repeat("debit cash 1, ", 498)+"credit sales 498")
	d.Splits = []ledger.Split{{Side: "credit", Amount: "5", Shares: []ledger.Share{{AccountID: sales.String(), Share: 1_000_000_000}}}}
	d.Lines[498].Amount = "493"
	d.Description, d.ExternalRef = strings.Repeat("ü", 999)+"\n", strings.Repeat("x", 200)
	d.Subjects = append(slices.Repeat([]string{ana.String()}, 99), ben.String())
	d.ExpiresAt = new(domaintest.Now.Add(time.Microsecond))
	d.Private = map[string]json.RawMessage{"a": json.RawMessage(`"` + strings.Repeat("x", 16<<10-3) + `"`)}
	d.Metadata = map[string]json.RawMessage{"none": json.RawMessage("null"), strings.Repeat("x", 100): json.RawMessage("1")}
	for i := range 49 {
		d.Metadata[fmt.Sprint(i)] = json.RawMessage("1")
	}
	b.did(create(tx, "draft", d))
	content := b.state(tx).Content
	require.Equal(t, []string{ana.String(), ben.String()}, content.Subjects)
	require.Len(t, content.Metadata, 50)
	require.Len(t, content.Lines, 500)
	b.did(posted(other, "2199-12-31", "debit cash 9999999999999999.98, debit cash 0.01, credit sales 9999999999999999.99"))

	d.ExpiresAt = new(domaintest.Now.Add(time.Microsecond - 1)) // they are kept to the microsecond
	b.refused("invalid_transaction", create(id(102), "draft", d))
}

// What a draft names is found, each once and so many at most, and what is no id is not.
func TestWhatADraftNames(t *testing.T) {
	d := draft(day, "debit cash 1, debit x 1, credit cash 1, debit bank 1")
	d.Splits = []ledger.Split{{Shares: []ledger.Share{{AccountID: sales.String()}, {AccountID: "x"}, {AccountID: bank.String()}}}}
	require.Equal(t, []uuid.UUID{cash, bank, sales}, d.Accounts())
	for i := range 600 {
		d.Splits = append(d.Splits, ledger.Split{Shares: []ledger.Share{{AccountID: id(1000 + i).String()}}})
	}
	require.Len(t, d.Accounts(), 500)
	last := []ledger.Share{{AccountID: sales.String()}}
	for _, tooMuch := range []ledger.Draft{
		{Lines: append(make([]ledger.DraftLine, 500), ledger.DraftLine{AccountID: sales.String()})},
		{Splits: append(make([]ledger.Split, 500), ledger.Split{Shares: last})},
		{Splits: []ledger.Split{{Shares: append(make([]ledger.Share, 500), last...)}}},
		{},
	} {
		require.Empty(t, tooMuch.Accounts())
	}

	require.Empty(t, ledger.Draft{}.Entities())
	require.Equal(t, []uuid.UUID{ana, ben}, ledger.Draft{Subjects: []string{ana.String(), "x", ana.String(), ben.String()}}.Entities())
	require.Equal(t, []uuid.UUID{ana}, ledger.Draft{Subjects: append(slices.Repeat([]string{ana.String()}, 100), ben.String())}.Entities())
}

func TestSubjectsWhoAreNotKnown(t *testing.T) {
	d := draft(day, "debit 17 x, credit bank 9")
	d.Subjects = []string{ana.String(), id(599).String()}
	require.Equal(t, []string{"body.subjects/1"}, locations(newBook(t).problem("unknown_entity", create(tx, "draft", d))), "before unknown_account")
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
	newBook(t).did(create(tx, "draft", draft(day, "debit cash 1, credit sales 1, debit dollars 0.01, credit dollars 0.01")))
	much := newBook(t).problem("invalid_amount", create(tx, "draft", draft(day, "debit cash 9999999999999999.99, debit cash 0.01, credit sales 1")))
	require.Equal(t, "must not sum up to more than can be kept, 999999999999999999 in the smallest unit", much.Fields[0].Message)
	unbalanced := newBook(t).problem("unbalanced", create(tx, "draft", draft(day, "debit cash 10, credit sales 9.99")))
	require.Equal(t, "has debits of 10.00 and credits of 9.99 EUR", unbalanced.Fields[0].Message)
	both := newBook(t).problem("unknown_account", create(tx, "draft", draft(day, "debit x 1, credit cash 2, debit y 1")))
	require.Equal(t, []string{"body.lines/0/account_id", "body.lines/2/account_id"}, locations(both))
	d := draft(day, "debit cash 1, credit sales 1")
	d.Lines[0].Currency = "USD"
	newBook(t).refused("currency_mismatch", create(tx, "draft", d))
	d.Lines[0].Currency = "EUR"
	newBook(t).did(create(tx, "draft", d))
}

func TestConversions(t *testing.T) {
	const legs = "debit dollars 100, credit dollars 100, debit cash 92.17, credit cash 92.17"
	const currency, rate, from = "must be from another currency, by its code of ISO 4217", "must have a rate that is a positive decimal string, as \"1.0845\"", "must have a from_amount in its currency: "
	for exchange, fault := range map[string]string{
		"100 USD 0.92166":                  "", // 92.166
		"100.00 USD 0.9217":                "",
		"100 USD 0.921":                    "makes another amount at this rate: 92.10 EUR",
		"99 USD 0.92166":                   "must be from an amount that another line has",
		"100 EUR 0.92166":                  currency,
		"100 XAU 0.92166":                  currency,
		"100 USD 0":                        rate,
		"100 USD -1":                       rate,
		"100 USD 1e2":                      rate,
		"100 USD 99999999999999999999999":  "makes another amount at this rate: 0.00 EUR",
		"100 USD 999999999999999999999.99": "makes another amount at this rate: 0.00 EUR",
		"1e2 USD 0.92166":                  from + `must be a decimal string, as "123.45": digits, and behind a point at most 2 for USD`,
	} {
		text := strings.Replace(legs, "debit cash 92.17", "debit cash 92.17 "+exchange, 1)
		if fault == "" {
			newBook(t).did(create(tx, "post", draft(day, text)))
			continue
		}
		p := newBook(t).problem("invalid_exchange", create(tx, "post", draft(day, text)))
		require.Equal(t, []problem.Field{{Location: "body.lines/2/exchange", Message: fault}}, p.Fields, exchange)
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

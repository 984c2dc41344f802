package ledger_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

var events = domaintest.Events{
	Kinds: ledger.Kinds(), Folds: ledger.Folds(), Stream: "transaction:0190aaaa-0000-7000-8000-00000000000a", Samples: samples(),
}

func samples() map[string][]domain.Payload {
	bank, rent, id := uuid.MustParse("0190aaaa-0000-7000-8000-000000000001"), uuid.MustParse("0190aaaa-0000-7000-8000-000000000002"), uuid.MustParse("0190aaaa-0000-7000-8000-00000000000b")
	at := time.Date(2026, time.March, 1, 12, 0, 0, 123456000, time.UTC)
	date, _ := ledger.ParseDate("2026-01-31")
	moved := ledger.Movement{Date: date, Lines: []ledger.Line{
		{AccountID: rent, Side: ledger.Debit, Amount: ledger.Money{Minor: 85000, Currency: "EUR"}, Exchange: &ledger.Exchange{FromAmount: "920.00", FromCurrency: "USD", Rate: "0.92391304"}},
		{AccountID: bank, Side: ledger.Credit, Amount: ledger.Money{Minor: 85000, Currency: "EUR"}},
	}}
	yen := ledger.Movement{Date: date, Lines: []ledger.Line{
		{AccountID: rent, Side: ledger.Debit, Amount: ledger.Money{Minor: 5, Currency: "JPY"}},
		{AccountID: bank, Side: ledger.Credit, Amount: ledger.Money{Minor: 5, Currency: "JPY"}},
	}}
	full := ledger.Content{
		Movement: moved, Description: ledger.Personal[string]{Clear: "Office rent <January>"}, ExternalRef: "rent-2026-01",
		Metadata: map[string]json.RawMessage{"order": json.RawMessage(`{"no":17}`)}, ExpiresAt: &at,
	}
	bare := ledger.Content{Movement: yen}
	sealed := func(text string, sensitive bool) *domain.Sealed {
		return &domain.Sealed{Text: text, Subject: id.String(), Within: []string{bank.String()}, Sensitive: sensitive}
	}
	personal := ledger.Content{
		Movement: moved, Description: ledger.Personal[string]{Sealed: sealed("ARkq", false)},
		Private: ledger.Personal[map[string]json.RawMessage]{Sealed: sealed("AV0x", true)},
	}
	by := ledger.By{Actor: domain.Actor{Sub: "ana", Person: "p-1"}}
	service := ledger.By{Actor: domain.Actor{Sub: "system:import", Person: "system:import"}, OnBehalfOf: &domain.Actor{Sub: "ana", Person: "p-1"}}
	return map[string][]domain.Payload{
		"account.opened": {
			ledger.Opened{Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: "-500.00", EntityID: &id},
			ledger.Opened{Code: "6000", Name: "Miete & Co", Kind: ledger.Expense, Currency: "EUR"},
		},
		"account.closed":             {ledger.Closed{}},
		"account.reopened":           {ledger.Reopened{}},
		"transaction.drafted":        {ledger.Drafted{Content: full, By: by}, ledger.Drafted{Content: bare, By: service}, ledger.Drafted{Content: personal, By: by}},
		"transaction.updated":        {ledger.Updated{Content: full, Released: &yen, By: by}, ledger.Updated{Content: bare, By: by}, ledger.Updated{Content: personal, By: by}},
		"transaction.submitted":      {ledger.Submitted{Content: &full, Held: moved, By: by}, ledger.Submitted{Held: moved, By: by}, ledger.Submitted{Content: &personal, Held: moved, By: by}},
		"transaction.approved":       {ledger.Approved{By: by, At: at, Complete: true}, ledger.Approved{By: service, At: at}},
		"transaction.rejected":       {ledger.Rejected{Released: moved, By: by}},
		"transaction.posted":         {ledger.Posted{Content: &full, Movement: moved, Reverses: &id, By: by}, ledger.Posted{Movement: yen, Released: &moved, By: by}, ledger.Posted{Content: &personal, Movement: moved, By: by}},
		"transaction.voided":         {ledger.Voided{Released: &moved, By: by}, ledger.Voided{By: by}},
		"transaction.reversed":       {ledger.Reversed{ReversedBy: id, By: by}},
		"transaction.expired":        {ledger.Expired{Released: &moved}, ledger.Expired{}},
		"transaction_policy.set":     {ledger.PolicySet{Currency: "EUR", ApprovalAbove: "1000.00", ApprovalsNeeded: 2}, ledger.PolicySet{Currency: "JPY", ApprovalsNeeded: 1}},
		"transaction_periods.closed": {ledger.PeriodsClosed{ClosedThrough: &date}, ledger.PeriodsClosed{}},
	}
}

func TestGoldenEvents(t *testing.T) { events.Golden(t) }

func FuzzDecode(f *testing.F) { events.FuzzDecode(f) }

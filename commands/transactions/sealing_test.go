package transactions_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// The entities of these tests; who may see the last one is Eva alone.
var ana, ben, hidden = id(501), id(502), id(503)

// about is a book with entities, and a draft about Ana and Ben.
func newPersonalBook(t *testing.T) (*book, ledger.Draft) {
	t.Helper()
	b := newBook(t)
	for _, person := range []uuid.UUID{ana, ben, hidden} {
		record(b, domain.Fact{Stream: entity.Stream(person), Payload: entity.Created{Type: "patient"}})
	}
	record(b, domain.Fact{Stream: entity.Stream(hidden), Payload: entity.AccessChanged{Entries: []entity.ACLEntry{{Principal: "user:eva", Rights: []entity.Right{entity.MayRead}}}}})
	d := draft(day, "debit cash 1, credit sales 1")
	d.Description, d.Private = "Refund for Ana", map[string]json.RawMessage{"case": json.RawMessage(`"A-17"`)}
	d.Subjects = []string{ana.String(), ben.String()}
	return b, d
}

// said is what a fact that was recorded says in clear, in whatever form it is printed.
func said(t *testing.T, facts []domain.Fact) string {
	t.Helper()
	return fmt.Sprintf("%v %+v %#v", facts, facts, facts)
}

func TestWhatIsAboutPersonsIsSealedForAllOfThem(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"draft", "submit", "post"} {
		b, d := newPersonalBook(t)
		o := b.did(create(tx, action, d))
		o.Named(ledger.TransactionStream(tx), ledger.AccountStream(cash), ledger.AccountStream(sales), "ledger_policy:EUR", "ledger_periods:all",
			entity.Stream(ana), entity.Stream(ben), domain.SubjectTag(ana.String()), domain.SubjectTag(ben.String()))
		require.Equal(t, d.Subjects, o.Decision.Facts[0].Subjects)
		require.NotContains(t, said(t, o.Decision.Facts), "Refund")
		require.NotContains(t, said(t, o.Decision.Facts), "A-17")
		_, err := json.Marshal(o.Decision.Facts[0].Payload)
		require.Error(t, err, "what was not sealed is not recorded")

		content := b.state(tx).Content
		require.Equal(t, d.Subjects, content.Subjects)
		require.Empty(t, content.Description.Clear)
		require.Zero(t, content.Private.Clear)
		require.Equal(t, d.Subjects, content.Description.Sealed.Subjects())
		require.Equal(t, d.Subjects, content.Private.Sealed.Subjects())
		require.Equal(t, "/content/description", content.Description.Sealed.Pointer)
		require.Equal(t, "/content/private", content.Private.Sealed.Pointer)
		require.False(t, content.Description.Sealed.Sensitive)
		require.True(t, content.Private.Sealed.Sensitive)
		require.Greater(t, b.state(tx).Size(), ledger.Transaction{Content: ledger.Content{Movement: content.Movement}}.Size())
	}
}

// Every event of the transaction is about them, whatever it says.
func TestAllEventsAreAboutTheSubjects(t *testing.T) {
	t.Parallel()
	b, d := newPersonalBook(t)
	until := domaintest.Now.Add(time.Hour)
	d.ExpiresAt = &until
	step := func(decider domain.Decider) {
		t.Helper()
		facts := b.did(decider).Decision.Facts
		require.NotEmpty(t, facts)
		for _, fact := range facts {
			require.Equal(t, d.Subjects, fact.Subjects, fact.Payload.EventType())
		}
	}
	for i, last := range []domain.Decider{
		transactions.RejectTransaction{ID: tx}, transactions.VoidTransaction{ID: tx}, postIt(tx), transactions.ExpireTransaction{ID: tx},
	} {
		b, d = newPersonalBook(t)
		d.ExpiresAt = &until
		step(create(tx, "draft", d))
		step(patch(`{"description":"Refund"}`))
		step(transactions.SubmitTransaction{ID: tx})
		b.as("bob")
		step(transactions.ApproveTransaction{ID: tx})
		if i == 3 {
			b.at(until)
		}
		step(last)
	}
	b, d = newPersonalBook(t)
	step(create(tx, "post", d))
	step(reverse(tx, other, ""))
}

// Who is not there, and who may not be seen, are told alike.
func TestWhoATransactionCanBeAbout(t *testing.T) {
	t.Parallel()
	b, d := newPersonalBook(t)
	d.Subjects = []string{ana.String(), id(599).String()}
	unknown := b.When(create(tx, "draft", d)).ThenProblem("unknown_entity")
	require.Equal(t, "body.subjects/1", unknown.Fields[0].Location)
	d.Subjects[1] = hidden.String()
	require.Equal(t, unknown, b.When(create(tx, "draft", d)).ThenProblem("unknown_entity"))
	d.Lines = lines("debit 17 x, credit bank 9")
	b.refused("unknown_entity", create(tx, "draft", d))
	d.Lines = lines("debit cash 1, credit sales 1")

	b.as("eva")
	b.did(create(tx, "draft", d))
	b.as("ana")
	b.did(patch(`{"description":"x"}`)) // who is in it already may stay
	b.did(patch(`{"subjects":["` + ana.String() + `","` + hidden.String() + `","` + ben.String() + `"]}`))
	b.refused("unknown_entity", patch(`{"subjects":["`+ana.String()+`","`+hidden.String()+`","`+id(599).String()+`"]}`))

	for location, change := range map[string]func(*ledger.Draft){
		"body.subjects": func(d *ledger.Draft) { d.Subjects = []string{"0190aaaa000070008000000000000501"} },
		"body.private":  func(d *ledger.Draft) { d.Subjects = nil },
	} {
		_, d := newPersonalBook(t)
		change(&d)
		require.Equal(t, location, b.When(create(other, "draft", d)).ThenProblem("invalid_transaction").Fields[0].Location)
	}
	_, d = newPersonalBook(t)
	for i := range 101 {
		d.Subjects = append(d.Subjects, id(1000+i).String())
	}
	require.Equal(t, "body.subjects", b.When(create(other, "draft", d)).ThenProblem("invalid_transaction").Fields[0].Location)
	// Nothing private needs nobody, and who is named twice is named once.
	d.Subjects, d.Private = nil, map[string]json.RawMessage{"a": json.RawMessage("null")}
	b.did(create(other, "draft", d))
	require.Equal(t, "Refund for Ana", b.state(other).Content.Description.Clear)
	d.Subjects = []string{ana.String(), ana.String()}
	b.did(create(id(102), "draft", d))
	require.Equal(t, []string{ana.String()}, b.state(id(102)).Content.Subjects)
}

// Within a batch the ones before are known before they are sealed.
func TestABatchOfTheSameSealedRequests(t *testing.T) {
	t.Parallel()
	b, d := newPersonalBook(t)
	d.ExternalRef = "r-1"
	batch := transactions.CreateTransactions{First: transactions.BatchID(id(0), 0), Items: []ledger.NewTransaction{{Draft: d, Action: "post"}, {Draft: d, Action: "post"}}}
	p := b.When(batch).ThenProblem("external_ref_taken")
	require.Equal(t, 1, p.Extra["index"])
	require.Empty(t, p.Fields, "it is no other request, and a part of a batch all the same")
	batch.Items[1].Draft.Description = "other"
	require.Equal(t, "body.description", b.When(batch).ThenProblem("external_ref_taken").Fields[0].Location)
}

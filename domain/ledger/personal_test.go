package ledger_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// newPersonalBook is a book, and a draft about Ana and Ben.
func newPersonalBook(t *testing.T) (*book, ledger.Draft) {
	t.Helper()
	d := draft(day, "debit cash 1, credit sales 1")
	d.Description, d.Private = "Refund for Ana", map[string]json.RawMessage{"case": json.RawMessage(`"A-17"`)}
	d.Subjects = []string{ana.String(), ben.String()}
	return newBook(t), d
}

// opened is what a transaction says in clear.
func (b *book) opened(id uuid.UUID) (description string, private map[string]json.RawMessage) {
	b.t.Helper()
	b.did(on(id, func(r domain.Reader, current ledger.Transaction, _ domain.Meta) ([]domain.Fact, error) {
		for _, part := range []struct {
			sealed *domain.Sealed
			into   any
		}{{current.Content.Description.Sealed, &description}, {current.Content.Private.Sealed, &private}} {
			if part.sealed == nil {
				continue
			}
			text, err := r.Open(*part.sealed)
			require.NoError(b.t, err)
			require.NoError(b.t, json.Unmarshal(text, part.into))
		}
		return nil, nil
	}))
	return description, private
}

func TestPatchesOfWhatIsSealed(t *testing.T) {
	b, d := newPersonalBook(t)
	b.did(create(tx, "draft", d))
	for _, same := range []string{`{}`, `{"description":"Refund for Ana"}`, `{"private":{"case":"A-17"}}`, `{"private":{"x":null}}`, `{"subjects":["` + ana.String() + `","` + ben.String() + `"]}`} {
		b.When(patch(same)).ThenNothing()
	}
	b.did(patch(`{"private":{"note":[1.50]}}`))
	description, private := b.opened(tx)
	require.Equal(t, "Refund for Ana", description)
	require.Equal(t, map[string]json.RawMessage{"case": json.RawMessage(`"A-17"`), "note": json.RawMessage("[1.50]")}, private)
	b.did(patch(`{"date":"2026-03-02"}`))
	description, private = b.opened(tx)
	require.Equal(t, "Refund for Ana", description)
	require.Len(t, private, 2)

	for document, location := range map[string]string{
		`{"private":7}`:                         "body.private",
		`{"private":"***"}`:                     "body.private",
		`{"subjects":"x"}`:                      "body.subjects",
		`{"subjects":["x"]}`:                    "body.subjects",
		`{"subjects":null}`:                     "body.private", // which nobody's key would seal
		`{"subjects":["` + ana.String() + `"]}`: "body.description",
		`{"description":"New","subjects":["` + ana.String() + `"]}`:                        "body.private",
		`{"private":{"case":"B"},"description":"New","subjects":["` + ana.String() + `"]}`: "body.private",
		`{"private":null,"subjects":null}`:                                                 "body.description",
	} {
		require.Equal(t, location, b.problem("invalid_transaction", patch(document)).Fields[0].Location, document)
	}
	b.did(patch(`{"private":null,"description":"For Ben","subjects":["` + ben.String() + `"]}`))
	require.Equal(t, []string{ben.String()}, b.state(tx).Content.Subjects)
	require.Nil(t, b.state(tx).Content.Private.Sealed)
	nobody := func(uuid.UUID) bool { return false }
	b.did(patching(ledger.Patch{ID: tx, Document: []byte(`{"description":"Refund"}`), Known: nobody})) // who is in it already may stay
	b.refused("unknown_entity", patching(ledger.Patch{ID: tx, Document: []byte(`{"subjects":["` + ben.String() + `","` + ana.String() + `"]}`), Known: nobody}))
	b.did(patch(`{"description":null,"subjects":null}`))
	b.did(patch(`{"description":"Sundries"}`))
	require.Equal(t, "Sundries", b.state(tx).Content.Description.Clear)
	b.did(patch(`{"subjects":["` + ana.String() + `"]}`))
	description, _ = b.opened(tx)
	require.Equal(t, "Sundries", description)
}

func TestReversalsOfWhatIsSealed(t *testing.T) {
	b, d := newPersonalBook(t)
	b.did(create(tx, "post", d))
	b.did(reverse(tx, other, ""))
	description, private := b.opened(other)
	require.Equal(t, "Refund for Ana", description)
	require.Empty(t, private, "which stays with what is reversed")
	require.Equal(t, d.Subjects, b.state(other).Content.Subjects)
	b.did(reversing(ledger.Reversal{ID: other, By: id(102), Description: new("Ana was right")}))
	description, _ = b.opened(id(102))
	require.Equal(t, "Ana was right", description)
}

// What was erased is gone, and the books go on.
func TestTransactionsOfWhoWasErased(t *testing.T) {
	b, d := newPersonalBook(t)
	d.ExternalRef = "r-1"
	b.did(create(tx, "submit", d))
	b.Erase(ben.String())
	b.refused("subject_erased", patch(`{"date":"2026-03-02"}`))
	// The same request is known by what is left of it.
	b.found(tx, create(other, "submit", d))
	d.Metadata = map[string]json.RawMessage{"a": json.RawMessage("1")}
	require.Equal(t, "body.metadata", b.problem("external_ref_taken", create(other, "submit", d)).Fields[0].Location)

	b.did(b.post(tx))
	b.did(reverse(tx, other, ""))
	require.True(t, b.state(other).Content.Description.IsZero())
	require.Equal(t, ledger.StatusReversed, b.state(tx).Status)
}

func TestTheSameSealedRequestAgain(t *testing.T) {
	b, d := newPersonalBook(t)
	d.ExternalRef = "r-1"
	b.did(create(tx, "post", d))
	b.found(tx, create(other, "post", d))
	d.Description, d.Private, d.Subjects = "Refund for Ben", nil, []string{ben.String()}
	require.Equal(t, []string{"body.description", "body.subjects", "body.private"}, locations(b.problem("external_ref_taken", create(other, "post", d))))
}

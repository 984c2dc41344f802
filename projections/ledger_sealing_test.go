package projections

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// A transaction about two persons: in read tables its description is in clear and what is
// private is not; once one of them is erased, a view that is built has neither.
func TestSealedTransactionsInViews(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.options.Projections = []Projection{Ledger()}
	v := newVault(t, h)
	_, err := ensureView(t.Context(), h.options, Ledger())
	require.NoError(t, err)
	second := keyring.Ref{Org: "acme", Subject: uuid.Must(uuid.NewV7()).String()}
	other, err := v.keys.New(second)
	require.NoError(t, err)
	keys := keyring.Keys{v.ref: v.key, second: other}
	subjects := []string{v.ref.Subject, second.Subject}
	stop := h.run(t, New(h.options))

	account, date := uuid.New(), ledger.Date(20000)
	movement := ledger.Movement{Date: date, Lines: []ledger.Line{
		{AccountID: account, Side: ledger.Debit, Amount: ledger.Money{Minor: 5, Currency: "EUR"}},
		{AccountID: account, Side: ledger.Credit, Amount: ledger.Money{Minor: 5, Currency: "EUR"}},
	}}
	stream, version := ledger.TransactionStream(uuid.New()), int64(0)
	record := func(payload func(ledger.Content) domain.Payload, description, private string) int64 {
		event := uuid.Must(uuid.NewV7())
		sealed := func(pointer, plain string, sensitive bool) *domain.Sealed {
			value, err := keys.Seal("acme", keyring.Place{Event: event, Pointer: pointer}, domain.NewSecret(json.RawMessage(plain), sensitive, subjects...))
			require.NoError(t, err)
			return &value
		}
		content := ledger.Content{Movement: movement, ExternalRef: "R-1", Description: ledger.Personal[string]{Sealed: sealed("/content/description", description, false)}}
		if private != "" {
			content.Private.Sealed = sealed("/content/private", private, true)
		}
		kind, schemaVersion, data, err := h.options.Codec.Encode(payload(content))
		require.NoError(t, err)
		require.NotContains(t, string(data), "Ana")
		version++
		turn := eventstore.Turn{Outcomes: []eventstore.Outcome{{
			Meta:       domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7())},
			ResourceID: stream.Name(), Version: version,
			Events: []eventstore.NewEvent{{
				ID: event, Stream: stream, Version: version, Type: kind, SchemaVersion: schemaVersion, Subjects: subjects, Data: data,
				Tags: []domain.Tag{stream, domain.SubjectTag(subjects[0]), domain.SubjectTag(subjects[1])},
			}},
		}}}
		if version == 1 {
			turn.With = keyring.Keep([]*keyring.Key{v.key, other}, nil)
		}
		appended, err := v.command.Append(t.Context(), turn)
		require.NoError(t, err)
		require.False(t, appended.Refused())
		return appended.Base + 1
	}
	drafted := func(c ledger.Content) domain.Payload { return ledger.Drafted{Content: c} }
	updated := func(c ledger.Content) domain.Payload { return ledger.Updated{Content: c} }
	type row struct {
		Description, Search string
		Subjects            []string
		Private             *domain.Sealed
	}
	view := func() (found row) {
		var private []byte
		require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT description, search, subjects::text[], private FROM `+quoted(h.view(t).Schema)+`.transactions`).
			Scan(&found.Description, &found.Search, &found.Subjects, &private))
		if private != nil {
			require.NoError(t, json.Unmarshal(private, &found.Private))
		}
		return found
	}

	h.reaches(t, record(drafted, `"Refund for Ana"`, `{"case":"Ana"}`))
	now := view()
	assert.Equal(t, "Refund for Ana", now.Description)
	assert.Equal(t, "refund for ana\nr-1", now.Search)
	assert.Equal(t, subjects, now.Subjects)
	opened, err := keys.Open("acme", *now.Private)
	require.NoError(t, err)
	assert.JSONEq(t, `{"case":"Ana"}`, string(opened))
	h.reaches(t, record(updated, `"For Ana and Ben"`, ""))
	assert.Equal(t, row{"For Ana and Ben", "for ana and ben\nr-1", subjects, nil}, view())
	h.reaches(t, record(updated, `"For Ana"`, `{"case":1}`))
	require.NotNil(t, view().Private)

	stop() // it could be the one that builds, with a key that it has in memory still
	require.NoError(t, v.keys.Erase(t.Context(), second, nil))
	h.options.Keys = v.projector(t)
	require.NoError(t, Rebuild(t.Context(), h.options, Ledger().Name, nil))
	assert.Equal(t, row{"", "\nr-1", subjects, nil}, view())
}

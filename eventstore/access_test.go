package eventstore_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestAccessesAreRecordedByWhoAnswersQueries(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	query := eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery)))
	seen := eventstore.Access{
		Org: "acme", Actor: domain.Actor{Sub: "pia", Person: "p-pia"}, RequestID: "r-1", Subjects: []string{"ana", "ben", "ana"},
		SchemaVersion: 1, Data: []byte(`{"route":"GET /x","attributes":["iban"]}`),
	}
	for want := int64(1); want <= 2; want++ {
		position, err := query.RecordAccess(t.Context(), seen)
		require.NoError(t, err)
		assert.Equal(t, want, position)
	}
	found, err := query.Read(t.Context(), "acme", eventstore.Query{Tag: domain.SubjectTag("ben"), Types: []string{"access.recorded"}})
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "access.recorded", found[0].Type)
	assert.Equal(t, int64(1), found[0].Version)
	assert.Equal(t, domain.Tag("access:"+found[0].ID.String()), found[0].Stream)
	assert.ElementsMatch(t, []domain.Tag{found[0].Stream, "subject:ana", "subject:ben"}, found[0].Tags, "nothing can be decided on it")
	assert.Equal(t, domain.Actor{Sub: "pia", Person: "p-pia"}, found[0].Actor)
	other, err := query.Read(t.Context(), "other", eventstore.Query{Tag: domain.SubjectTag("ben")})
	require.NoError(t, err)
	assert.Empty(t, other)

	_, err = query.RecordAccess(t.Context(), eventstore.Access{Org: "acme", Data: []byte("{}"), SchemaVersion: 1})
	require.Error(t, err, "of nobody")
	_, err = l.command.RecordAccess(t.Context(), seen)
	require.Error(t, err, "only who answers queries may")
	_, err = query.Append(t.Context(), one(nil, event("a:1", 1)))
	require.Error(t, err, "who may write nothing else")
}

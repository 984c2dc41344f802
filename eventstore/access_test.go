package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// recorder is a recorder that runs until the test ends, and the store that it writes to.
func (l *log) recorder(t *testing.T, role eventstore.Role) (*eventstore.AccessRecorder, *eventstore.Store) {
	t.Helper()
	store := eventstore.New(hubtest.Pool(t, l.url, string(role)))
	recorder := eventstore.NewAccessRecorder(store)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		recorder.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
	return recorder, store
}

func access(org string, subjects ...string) eventstore.Access {
	return eventstore.Access{
		Org: org, Actor: domain.Actor{Sub: "pia", Person: "p-pia"}, RequestID: "r-1", Subjects: subjects,
		SchemaVersion: 1, Data: []byte(`{"route":"GET /x","attributes":["iban"]}`),
	}
}

func TestAccessesAreRecordedByWhoAnswersQueries(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	recorder, query := l.recorder(t, eventstore.RoleQuery)
	for range 2 {
		require.NoError(t, recorder.Record(t.Context(), access("acme", "ana", "ben", "ana")))
	}
	found, err := query.Read(t.Context(), "acme", eventstore.Query{Tag: domain.SubjectTag("ben"), Types: []string{"access.recorded"}})
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "access.recorded", found[0].Type)
	assert.Equal(t, int64(1), found[0].Version)
	assert.Equal(t, domain.Tag("access:"+found[0].ID.String()), found[0].Stream)
	assert.ElementsMatch(t, []domain.Tag{found[0].Stream, "subject:ana", "subject:ben"}, found[0].Tags, "nothing can be decided on it")
	assert.Equal(t, domain.Actor{Sub: "pia", Person: "p-pia"}, found[0].Actor)
	assert.Equal(t, "r-1", found[0].RequestID)
	other, err := query.Read(t.Context(), "other", eventstore.Query{Tag: domain.SubjectTag("ben")})
	require.NoError(t, err)
	assert.Empty(t, other)

	require.Error(t, recorder.Record(t.Context(), access("acme")), "of nobody")
	require.Error(t, recorder.Record(t.Context(), access("acme", "ana\nben")), "of what can be no subject")
	command, _ := l.recorder(t, eventstore.RoleCommand)
	require.Error(t, command.Record(t.Context(), access("acme", "ana")), "only who answers queries may")
	_, err = query.Append(t.Context(), one(nil, event("a:1", 1)))
	require.Error(t, err, "who may write nothing else")
}

// Many reads at once, of several organisations, cost few appends and mix nothing up.
func TestAccessesOfManyAreRecordedTogether(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	recorder, query := l.recorder(t, eventstore.RoleQuery)
	const readers, orgs = 100, 3
	var wait sync.WaitGroup
	for i := range readers {
		wait.Go(func() {
			org := fmt.Sprint("org-", i%orgs)
			assert.NoError(t, recorder.Record(t.Context(), access(org, fmt.Sprint("s-", i)), access(org, "both")))
		})
	}
	wait.Wait()
	head, _, err := query.Head(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2*readers, head)
	for i := range readers {
		found, err := query.Read(t.Context(), fmt.Sprint("org-", i%orgs), eventstore.Query{Tag: domain.SubjectTag(fmt.Sprint("s-", i))})
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, []string{fmt.Sprint("s-", i)}, found[0].Subjects)
	}
}

// What queued up while nobody recorded is one append; whoever has gone meanwhile is left
// out, and data that the log refuses costs only its own read.
func TestATurnOfAccesses(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	query := eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery)))
	recorder := eventstore.NewAccessRecorder(query)
	gone, leave := context.WithCancel(t.Context())
	bad := access("acme", "cleo")
	bad.RequestID = "a null\x00byte"
	answers := make([]chan error, 4)
	for i, a := range []eventstore.Access{access("acme", "ana"), bad, access("acme", "gone"), access("other", "ben")} {
		ctx := t.Context()
		if i == 2 {
			ctx = gone
		}
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- recorder.Record(ctx, a) }()
	}
	recorder.AwaitQueued(t, len(answers))
	leave()
	require.ErrorIs(t, <-answers[2], context.Canceled)
	ctx, stop := context.WithCancel(t.Context())
	stop() // it records what is queued, and ends
	recorder.Run(ctx)
	require.NoError(t, <-answers[0])
	require.Error(t, <-answers[1])
	require.NoError(t, <-answers[3])
	head, _, err := query.Head(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, head)
	require.Error(t, recorder.Record(t.Context(), access("acme", "ana")), "nobody records any more")
}

func TestAccessesBeyondTheirRoomAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	recorder := eventstore.NewAccessRecorder(eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery))))
	gone, leave := context.WithCancel(t.Context())
	leave()
	for {
		if err := recorder.Record(gone, access("acme", "ana")); !errors.Is(err, context.Canceled) {
			require.ErrorIs(t, err, eventstore.ErrAccessesFull)
			return
		}
	}
}

// A page names more subjects than fit one event: then there are several, each of which can
// be published.
func TestAnAccessOfManySubjectsIsSeveralEvents(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	recorder, store := l.recorder(t, eventstore.RoleQuery)
	var subjects []string
	for range 1000 {
		subjects = append(subjects, uuid.NewString())
	}
	require.NoError(t, recorder.Record(t.Context(), access("acme", subjects...)))
	page, err := store.Accesses(t.Context(), "acme", eventstore.AccessQuery{Actor: "pia", Limit: 100, Bytes: 1 << 20})
	require.NoError(t, err)
	found := page.Events
	assert.Len(t, found, 4)
	var named []string
	for _, e := range found {
		named = append(e.Subjects, named...)
		size := len(e.Stream) + len(e.RequestID)
		for _, tag := range e.Tags {
			size += len(tag)
		}
		for _, subject := range e.Subjects {
			size += len(subject)
		}
		assert.Less(t, size, eventstore.MaxDescriptionBytes)
	}
	assert.Equal(t, subjects, named)

	// Pages have a bound of bytes, and all of them together have everything once.
	for query := (eventstore.AccessQuery{Actor: "pia", Limit: 3, Bytes: 1, Count: true}); ; {
		page, err := store.Accesses(t.Context(), "acme", query)
		require.NoError(t, err)
		require.Equal(t, int64(4), *page.Count)
		require.Len(t, page.Events, 1, "the one that begins within the bytes comes whole")
		require.Equal(t, found[0].ID, page.Events[0].ID)
		if found = found[1:]; page.Next == 0 {
			break
		}
		query.Before = page.Next
	}
	assert.Empty(t, found)
	page, err = store.Accesses(t.Context(), "acme", eventstore.AccessQuery{Subject: subjects[0], Limit: 3, Bytes: 1 << 20})
	require.NoError(t, err)
	assert.Len(t, page.Events, 1)
	head, epoch, err := store.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []any{head, epoch, int64(0)}, []any{page.Head, page.Epoch, page.Next})
}

package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// log is a fresh log with a store for each role that tests act as.
type log struct {
	url              string
	command, relayer *eventstore.Store
	incarnation      string
}

func newLog(t *testing.T) *log {
	t.Helper()
	return openLog(t, hubtest.Database(t, hubtest.Log()))
}

func openLog(t *testing.T, url string) *log {
	t.Helper()
	l := &log{
		url:     url,
		command: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))),
		relayer: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleRelay))),
	}
	require.NoError(t, l.command.Locked(t.Context(), func(locked *eventstore.LockedLog) error {
		l.incarnation = locked.Incarnation
		return nil
	}))
	return l
}

// admin is a superuser's connection.
func (l *log) admin(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), l.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func meta(org string) domain.Meta {
	return domain.Meta{
		Org: org, Actor: domain.Actor{Sub: "ana", Person: "p-ana"}, CommandID: uuid.Must(uuid.NewV7()),
		Now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
	}
}

func event(stream domain.Tag, version int64, tags ...domain.Tag) eventstore.NewEvent {
	return eventstore.NewEvent{
		ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: version, Type: "thing.happened", SchemaVersion: 1,
		Tags: append([]domain.Tag{stream}, tags...), Data: []byte(`{"n":1}`),
	}
}

// one is a turn of one accepted command of org acme.
func one(marks []eventstore.Mark, events ...eventstore.NewEvent) eventstore.Turn {
	return eventstore.Turn{Marks: marks, Outcomes: []eventstore.Outcome{{
		Meta: meta("acme"), ResourceID: "thing", Version: int64(len(events)), Events: events,
	}}}
}

func mark(tag domain.Tag, head int64) eventstore.Mark {
	return eventstore.Mark{Boundary: eventstore.Boundary{Org: "acme", Tag: tag}, Head: head}
}

// try appends what was decided on this log as it is.
func (l *log) try(t *testing.T, turn eventstore.Turn) (eventstore.Appended, error) {
	t.Helper()
	turn.Incarnation = l.incarnation
	return l.command.Append(t.Context(), turn)
}

func (l *log) append(t *testing.T, turn eventstore.Turn) eventstore.Appended {
	t.Helper()
	appended, err := l.try(t, turn)
	require.NoError(t, err)
	require.False(t, appended.Refused(), "%+v", appended)
	return appended
}

package eventstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestAppendGivesGaplessPositionsPerLogAndOrganisation(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	turn := eventstore.Turn{Outcomes: []eventstore.Outcome{
		{Meta: meta("acme"), Events: []eventstore.NewEvent{event("a:1", 1), event("a:1", 2)}},
		{Meta: meta("other"), Events: []eventstore.NewEvent{event("a:1", 1)}},
		{Meta: meta("acme"), Events: []eventstore.NewEvent{event("a:2", 1)}},
	}}
	assert.Equal(t, int64(0), l.append(t, turn).Base)
	next := one(nil, event("a:2", 2))
	assert.Equal(t, int64(4), l.append(t, next).Base)

	entries, err := l.relayer.ReadLog(t.Context(), 0, 100)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%d %s/%d %s v%d", e.Position, e.Org, e.OrgPosition, e.Stream, e.Version))
	}
	assert.Equal(t, []string{
		"1 acme/1 a:1 v1", "2 acme/2 a:1 v2", "3 other/1 a:1 v1", "4 acme/3 a:2 v1", "5 acme/4 a:2 v2",
	}, got)
	assert.Nil(t, entries[0].Receipt, "a receipt belongs to the last event of its command")
	assert.Equal(t, int64(1), entries[1].Receipt.FirstPosition)
	assert.Equal(t, int64(2), entries[1].Receipt.Position)
	assert.Equal(t, turn.Outcomes[0].Meta.CommandID, entries[1].Receipt.CommandID)
}

func TestAppendStoresEveryColumn(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	m := meta("acme")
	m.OnBehalfOf = &domain.Actor{Sub: "bo", Person: "p-bo"}
	m.RequestID, m.CorrelationID, m.CausationID = "req", "cor", "cau"
	e := event("a:1", 1, `key:x/"quoted\", {braces}`, "subject:s1")
	e.Subjects, e.Reason = []string{"s1"}, "because\n\"ü\""
	e.Data = []byte("{\"spaces\" :  1 , \"u\": \"\\u00e9é\"}")
	l.append(t, eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: m, IdempotencyKey: "k", RequestHash: []byte{1, 2}, ResourceID: "1", Created: true, Version: 1, Events: []eventstore.NewEvent{e},
	}}})

	entries, err := l.relayer.ReadLog(t.Context(), 0, 1)
	require.NoError(t, err)
	got := entries[0]
	_, epoch, err := l.relayer.Head(t.Context())
	require.NoError(t, err)
	assert.Len(t, got.LeafHash, 32)
	assert.False(t, got.RecordedAt.IsZero())
	assert.Equal(t, domain.Event{
		Position: 1, OrgPosition: 1, Epoch: epoch, ID: e.ID, Org: "acme", Stream: "a:1", Version: 1,
		Type: "thing.happened", SchemaVersion: 1, Tags: e.Tags, Subjects: []string{"s1"}, Data: e.Data,
		Actor: m.Actor, OnBehalfOf: m.OnBehalfOf, Reason: e.Reason, RequestID: "req", CorrelationID: "cor", CausationID: "cau",
		CommandID: m.CommandID, OccurredAt: m.Now, RecordedAt: got.RecordedAt, LeafHash: got.LeafHash,
	}, got.Event)
	assert.Equal(t, &eventstore.Receipt{
		CommandID: m.CommandID, Org: "acme", Caller: "ana", IdempotencyKey: "k", RequestHash: []byte{1, 2},
		ResourceID: "1", Created: true, Version: 1, FirstPosition: 1, Position: 1,
	}, got.Receipt)
}

func TestAppendRefusesTheWholeTurnWhenABoundaryMoved(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one([]eventstore.Mark{mark("a:1", 0), mark("key:x", 0)}, event("a:1", 1, "key:x")))

	stale := one([]eventstore.Mark{mark("a:2", 0), mark("key:x", 0)}, event("a:2", 1, "key:x"))
	appended, err := l.try(t, stale)
	require.NoError(t, err)
	assert.Equal(t, []int{1}, appended.Moved)
	head, _, err := l.command.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(1), head, "nothing of a refused turn is written")

	// The same boundary in another organisation is another boundary.
	stale.Marks[1].Org = "other"
	l.append(t, stale)
}

func TestAppendChecksOutcomesWithoutEvents(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1)))
	appended, err := l.try(t, eventstore.Turn{Marks: []eventstore.Mark{mark("a:1", 0)}})
	require.NoError(t, err)
	assert.Equal(t, []int{0}, appended.Moved)
	appended = l.append(t, eventstore.Turn{Marks: []eventstore.Mark{mark("a:1", 1)}})
	assert.Equal(t, int64(1), appended.Base)
}

func TestAppendRefusesWhatWasAnsweredBefore(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	first := one(nil, event("a:1", 1))
	first.Outcomes[0].IdempotencyKey = "k"
	l.append(t, first)

	again, err := l.try(t, first)
	require.NoError(t, err)
	assert.Equal(t, []int{0}, again.KnownCommands)
	assert.Equal(t, []int{0}, again.KnownKeys)

	sameKey := one(nil, event("a:2", 1))
	sameKey.Outcomes[0].IdempotencyKey = "k"
	again, err = l.try(t, sameKey)
	require.NoError(t, err)
	assert.Empty(t, again.KnownCommands)
	assert.Equal(t, []int{0}, again.KnownKeys)

	otherCaller := sameKey
	otherCaller.Outcomes[0].Meta.Actor.Sub = "bo"
	l.append(t, otherCaller)

	found, err := l.command.FindReceipts(t.Context(), []eventstore.ReceiptKey{{Org: "acme", Caller: "ana", Key: "k"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Equal(t, first.Outcomes[0].Meta.CommandID, found[0].CommandID)
	assert.Equal(t, []string{"thing.happened"}, found[0].EventTypes)
}

func TestAppendKeepsRefusals(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refused := one(nil)
	refused.Outcomes[0].IdempotencyKey = "k"
	refused.Outcomes[0].Refusal = []byte(`{"code":"no"}`)
	l.append(t, refused)
	found, err := l.command.FindReceipts(t.Context(), []eventstore.ReceiptKey{{CommandID: refused.Outcomes[0].Meta.CommandID}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.JSONEq(t, `{"code":"no"}`, string(found[0].Refusal))
	assert.Zero(t, found[0].FirstPosition)
	assert.Empty(t, found[0].EventTypes)
}

func TestAppendRefusesVersionsThatDoNotContinueTheStream(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for _, version := range []int64{2, 0, -1} {
		_, err := l.try(t, one(nil, event("a:1", version)))
		require.Error(t, err)
	}
	_, err := l.try(t, one(nil, event("a:1", 1), event("a:1", 3)))
	require.ErrorContains(t, err, "do not continue the log")
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "an answer of the server means that it rolled back")
	head, _, err := l.command.Head(t.Context())
	require.NoError(t, err)
	assert.Zero(t, head)
}

func TestAppendOnlyAtReadCommitted(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	conn := l.admin(t)
	_, err := conn.Exec(t.Context(), `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `SELECT lock_log()`)
	require.ErrorContains(t, err, "READ COMMITTED")
}

// Sixteen racers on one empty boundary, released together: one wins each round.
func TestOneWinnerPerBoundary(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	const racers, rounds = 16, 25
	for round := range rounds {
		key := domain.NewTag("key", fmt.Sprintf("x/%d", round))
		start := make(chan struct{})
		won := make(chan bool, racers)
		var group sync.WaitGroup
		for range racers {
			group.Go(func() {
				<-start
				stream := domain.NewTag("a", uuid.NewString())
				appended, err := l.try(t, one([]eventstore.Mark{mark(key, 0)}, event(stream, 1, key)))
				won <- assert.NoError(t, err) && !appended.Refused()
			})
		}
		close(start)
		group.Wait()
		close(won)
		winners := 0
		for w := range won {
			if w {
				winners++
			}
		}
		require.Equal(t, 1, winners, "round %d", round)
	}
}

// Appends and loads cost the same on a log that has grown since their plans were
// made, for new streams and keys and for an organisation that was silent for long.
// Rows read are counted, since time says nothing on a busy machine.
func TestAppendsAndLoadsReadFewRowsHoweverLongTheLog(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	// The session that is looked at; its plans are made now, while the log is empty.
	session := l.admin(t)
	_, err := session.Exec(t.Context(), `BEGIN; SET ROLE hub_command`)
	require.NoError(t, err)
	for range 10 { // PL/pgSQL settles on a general plan after five
		rowsRead(t, session, "acme")
	}
	_, err = session.Exec(t.Context(), `ROLLBACK; BEGIN; SET ROLE hub_command`)
	require.NoError(t, err)

	silent := one(nil, event("a:1", 1))
	silent.Outcomes[0].Meta.Org = "silent"
	l.append(t, silent)
	const turns, events = 20, 100
	for turn := range turns {
		var marks []eventstore.Mark
		var all []eventstore.NewEvent
		for n := range events {
			stream := domain.NewTag("a", fmt.Sprintf("%d-%d", turn, n))
			key := domain.NewTag("key", string(stream))
			marks = append(marks, mark(stream, 0), mark(key, 0))
			all = append(all, event(stream, 1, key))
		}
		l.append(t, one(marks, all...))
	}
	for _, org := range []string{"acme", "silent", "new"} {
		rows := rowsRead(t, session, org)
		assert.Positive(t, rows)
		assert.Less(t, rows, int64(30), "rows read for %q", org)
	}
}

// rowsRead appends a first event and loads a boundary of one event, and returns how
// many rows of the log that read.
func rowsRead(t *testing.T, session *pgx.Conn, org string) int64 {
	t.Helper()
	read := func() (rows int64) {
		require.NoError(t, session.QueryRow(t.Context(), `SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0)
			FROM pg_stat_xact_user_tables WHERE schemaname = 'public'`).Scan(&rows))
		return rows
	}
	before := read()
	_, err := session.Exec(t.Context(), `SELECT append_events(
		log_incarnation(), ARRAY[$1], ARRAY['a:' || $2], ARRAY[0]::bigint[],
		ARRAY[$3::uuid], ARRAY[$1], ARRAY['ana'], ARRAY[$2], ARRAY[NULL]::bytea[], ARRAY[NULL], ARRAY['x'],
		ARRAY[true], ARRAY[1]::bigint[], ARRAY[1],
		ARRAY['{}'], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[now()],
		ARRAY[gen_random_uuid()], ARRAY['a:' || $2], ARRAY[1]::bigint[], ARRAY['t.t'], ARRAY[1],
		ARRAY['{a:' || $2 || '}'], ARRAY['{}'], ARRAY[NULL], ARRAY['{}'::bytea])`, org, uuid.NewString(), uuid.New())
	require.NoError(t, err)
	_, err = session.Exec(t.Context(), `SELECT * FROM load_boundaries(ARRAY[$1], ARRAY['a:0-1'], ARRAY[0]::bigint[], 100000)`, org)
	require.NoError(t, err)
	return read() - before
}

func TestRecordedAtNeverDecreases(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	first := l.append(t, one(nil, event("a:1", 1)))
	second := l.append(t, one(nil, event("a:1", 2)))
	assert.False(t, second.RecordedAt.Before(first.RecordedAt))
}

// A clock that was set back does not set back the log.
func TestTheLogIsNeverEarlierThanItsLastEvent(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	ahead := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond)
	_, err := l.admin(t).Exec(t.Context(), `INSERT INTO events
		SELECT 1, 1, epoch, gen_random_uuid(), 'acme', 'a:0', 1, 'thing.happened', 1, '{a:0}', '{}', '{}', '{}', NULL,
		       NULL, NULL, NULL, NULL, gen_random_uuid(), now(), $1, sha256('') FROM log_head()`, ahead)
	require.NoError(t, err)
	assert.Equal(t, ahead, l.append(t, one(nil, event("a:1", 1))).RecordedAt)
	events, err := l.command.Read(t.Context(), "acme", eventstore.Query{Stream: "a:1"})
	require.NoError(t, err)
	require.Len(t, events, 1)
	assert.Equal(t, ahead, events[0].RecordedAt.UTC())
	assert.Equal(t, meta("acme").Now, events[0].OccurredAt.UTC(), "a command has the time of its metadata")
}

// Whoever may append can still not write what breaks the log for its readers.
func TestAppendRefusesTurnsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1)))
	untagged := event("a:2", 1)
	untagged.Tags = []domain.Tag{"key:x"}
	twice := one(nil, event("a:2", 1))
	twice.Outcomes[0].IdempotencyKey = "k"
	twice.Outcomes = append(twice.Outcomes, one(nil, event("a:3", 1)).Outcomes[0])
	twice.Outcomes[1].IdempotencyKey = "k"
	for name, turn := range map[string]eventstore.Turn{
		"a key twice in one turn":   twice,
		"a new stream begun twice":  one(nil, event("a:2", 1), event("a:2", 1)),
		"a version twice":           one(nil, event("a:1", 1)),
		"a version left out":        one(nil, event("a:1", 3)),
		"a new stream at 2":         one(nil, event("a:2", 2)),
		"versions in wrong order":   one(nil, event("a:2", 2), event("a:2", 1)),
		"without its stream's tag":  one(nil, untagged),
		"a tag twice on an event":   one(nil, event("a:2", 1, "key:x", "key:x")),
		"no JSON for a refusal":     {Outcomes: []eventstore.Outcome{{Meta: meta("acme"), Refusal: []byte("{")}}},
		"an event without any org":  {Outcomes: []eventstore.Outcome{{Meta: meta(""), Events: []eventstore.NewEvent{event("a:2", 1)}}}},
		"a stream with a null byte": one(nil, event("a:\x00", 1)),
	} {
		_, err := l.try(t, turn)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, name)
	}
	assert.Equal(t, int64(1), l.append(t, one(nil, event("a:1", 2), event("a:2", 1), event("a:1", 3))).Base)
}

// The marks say nothing about a log that was put back: what they were read from may
// have been lost, and what has come since lie before them.
func TestAppendRefusesWhatWasDecidedOnAnotherIncarnation(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	backup := hubtest.TakeBackup(t, l.url)
	lost := openLog(t, l.url)
	lost.append(t, one(nil, event("a:1", 1, "key:x")))

	backup.Restore(t)
	l = openLog(t, l.url)
	turn := one([]eventstore.Mark{mark("a:1", 1)}, event("a:1", 2))
	turn.Incarnation = lost.incarnation
	appended, err := l.command.Append(t.Context(), turn)
	require.NoError(t, err)
	assert.True(t, appended.Other && appended.Refused())
	head, _, err := l.command.Head(t.Context())
	require.NoError(t, err)
	assert.Zero(t, head)
	l.append(t, one([]eventstore.Mark{mark("a:1", 0), mark("key:x", 0)}, event("a:1", 1, "key:x")))
}

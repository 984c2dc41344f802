package eventstore_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/logevent"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestWhatIsStillOnTheHistoryOfTheLog(t *testing.T) {
	t.Parallel()
	first, second, third := uuid.New(), uuid.New(), uuid.New()
	h := eventstore.History{Head: 200, Epochs: []eventstore.Epoch{
		{ID: first}, {ID: second, After: 100, Fork: 80}, {ID: third, After: 120, Fork: 90},
	}}
	assert.Equal(t, third, h.Epoch())
	assert.Equal(t, first, h.Log())
	for _, c := range []struct {
		epoch    uuid.UUID
		position int64
		has      bool
	}{
		{first, 0, true}, {first, 80, true}, {first, 81, false}, {first, 95, false}, {first, 300, false},
		{second, 90, true}, {second, 91, false}, {third, 91, true}, {third, 300, true},
		{uuid.New(), 0, false}, {uuid.Nil, 1, false},
	} {
		assert.Equal(t, c.has, h.Has(c.epoch, c.position), "%v", c)
		common := h.Common(c.epoch, c.position)
		assert.LessOrEqual(t, common, c.position)
		assert.True(t, !h.Knows(c.epoch) || h.Has(c.epoch, common), "%v", c)
	}
	assert.Equal(t, []int64{80, 70, 90, 91, 90},
		[]int64{h.Common(first, 95), h.Common(first, 70), h.Common(second, 95), h.Common(third, 91), h.Common(uuid.New(), 200)})
}

func TestPositionsAreFoundByTime(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	store := l.relayer
	at := func(i int, entries []eventstore.LogEntry) int64 {
		position, err := store.PositionSince(t.Context(), entries[i].RecordedAt)
		require.NoError(t, err)
		return position
	}
	for version := range int64(9) {
		l.append(t, one(nil, event("a:1", 2*version+1), event("a:1", 2*version+2)))
	}
	entries, err := store.ReadLog(t.Context(), 0, 100)
	require.NoError(t, err)
	assert.EqualValues(t, 1, at(0, entries))
	for i := 2; i < len(entries); i += 2 {
		if entries[i].RecordedAt.After(entries[i-1].RecordedAt) {
			assert.EqualValues(t, i+1, at(i, entries))
			assert.EqualValues(t, i+1, at(i+1, entries), "of one turn")
		}
	}
	end, err := store.PositionSince(t.Context(), entries[17].RecordedAt.Add(1e9))
	require.NoError(t, err)
	assert.EqualValues(t, 19, end)
}

func TestAForkStartsAnEpochAndSaysSo(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1), event("a:1", 2)))
	before, err := l.relayer.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, []eventstore.Epoch{{ID: before.Epoch()}}, before.Epochs)
	entries, err := l.relayer.ReadLog(t.Context(), 0, 10)
	require.NoError(t, err)

	held := lossAt(before.Epoch(), 2, entries[1].ID, 1)
	for name, loss := range map[string]eventstore.Loss{
		"the log has the event":      held,
		"the log has an event there": lossAt(before.Epoch(), 2, uuid.Nil, 1),
		"another epoch is in force":  lossAt(uuid.New(), 9, uuid.New(), 1),
		"the epoch of nobody at all": lossAt(uuid.Nil, 9, uuid.Nil, 1),
	} {
		forked, err := l.relayer.Fork(t.Context(), loss)
		require.NoError(t, err, name)
		require.False(t, forked, name)
	}
	_, err = l.relayer.Fork(t.Context(), lossAt(before.Epoch(), 9, uuid.New(), 3))
	require.ErrorContains(t, err, "cannot have parted after position 3")

	lost := lossAt(before.Epoch(), 9, uuid.New(), 1)
	forked, err := l.relayer.Fork(t.Context(), lost)
	require.NoError(t, err)
	require.True(t, forked)
	after, err := l.relayer.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, eventstore.History{Head: 3, Epochs: []eventstore.Epoch{before.Epochs[0], {ID: after.Epoch(), After: 2, Fork: 1, Lost: lost.Published}}}, after)
	require.True(t, after.Settled(lost.Published))
	require.False(t, before.Settled(lost.Published) || after.Settled(eventstore.Published{}))
	require.True(t, after.Knows(before.Epoch()) && after.Knows(after.Epoch()))
	require.False(t, before.Knows(after.Epoch()))
	require.Equal(t, before.Log(), after.Log())
	again, err := l.relayer.Fork(t.Context(), lossAt(before.Epoch(), 9, uuid.New(), 1))
	require.NoError(t, err)
	require.False(t, again, "another relay was faster")

	l.append(t, one([]eventstore.Mark{mark("a:1", 2)}, event("a:1", 3)))
	entries, err = l.relayer.ReadLog(t.Context(), 2, 10)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	said := entries[0]
	assert.Equal(t, []any{logevent.Org, logevent.Epochs, "log.forked", int64(1), after.Epoch()},
		[]any{said.Org, said.Stream, said.Type, said.Version, said.Epoch})
	assert.Equal(t, "system:relay", said.Actor.Sub)
	var data logevent.Forked
	require.NoError(t, json.Unmarshal(said.Data, &data))
	assert.Equal(t, logevent.Forked{ForkPosition: 1, OldEpoch: before.Epoch(), NewEpoch: after.Epoch(), LostFrom: 2, LostThrough: 9}, data)
	assert.Equal(t, after.Epoch(), entries[1].Epoch)
	assert.True(t, leafHolds(t, l), "the leaf of what the relay wrote")
}

func lossAt(epoch uuid.UUID, position int64, event uuid.UUID, common int64) eventstore.Loss {
	return eventstore.Loss{Epoch: epoch, Published: eventstore.Published{Position: position, Event: event}, Common: common}
}

// lossOf is a log that was put back behind its first two events, and what it lost.
func lossOf(t *testing.T) (l *log, epoch uuid.UUID, lost []eventstore.LogEntry) {
	t.Helper()
	l = newLog(t)
	l.append(t, one(nil, event("a:1", 1, "key:x"), event("a:2", 1)))
	backup := hubtest.TakeBackup(t, l.url)
	l = openLog(t, l.url)
	keyed := one(nil, event("a:1", 2), event("a:3", 1, "key:x"))
	keyed.Outcomes[0].IdempotencyKey, keyed.Outcomes[0].RequestHash = "k", []byte{1}
	keyed.Outcomes[0].Events[0].Reason = `50 % <größer> "x"`
	l.append(t, keyed)
	l.append(t, one(nil, event("a:2", 2)))
	other := one(nil, event("b:1", 1))
	other.Outcomes[0].Meta.Org = "other"
	l.append(t, other)
	_, epoch, err := l.relayer.Head(t.Context())
	require.NoError(t, err)
	lost, err = l.relayer.ReadLog(t.Context(), 2, 10)
	require.NoError(t, err)
	require.Len(t, lost, 4)
	backup.Restore(t)
	return openLog(t, l.url), epoch, lost
}

// parts gives entries in parts of a size.
func parts(entries []eventstore.LogEntry, size int) func(context.Context) ([]eventstore.LogEntry, error) {
	return func(context.Context) ([]eventstore.LogEntry, error) {
		part := entries[:min(size, len(entries))]
		entries = entries[len(part):]
		return part, nil
	}
}

func TestALostEndIsAppendedAgainAsItWas(t *testing.T) {
	t.Parallel()
	l, epoch, lost := lossOf(t)
	done, err := l.relayer.Reappend(t.Context(), epoch, 2, parts(lost, 1))
	require.NoError(t, err)
	require.True(t, done)
	again, err := l.relayer.ReadLog(t.Context(), 2, 10)
	require.NoError(t, err)
	require.Equal(t, lost, again)
	require.True(t, leafHolds(t, l))
	// It is as if nothing had been lost: the key is known, the boundaries have moved,
	// and the log goes on.
	found, err := l.command.FindReceipts(t.Context(), []eventstore.ReceiptKey{{Org: "acme", Caller: "ana", Key: "k"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, *lost[1].Receipt, found[0].Receipt)
	stale, err := l.try(t, one([]eventstore.Mark{mark("key:x", 2)}, event("a:4", 1)))
	require.NoError(t, err)
	require.True(t, stale.Refused())
	l.append(t, one([]eventstore.Mark{mark("key:x", 4), mark("a:2", 5)}, event("a:2", 3)))
	history, err := l.relayer.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, eventstore.History{Head: 7, Epochs: []eventstore.Epoch{{ID: epoch}}}, history)
}

func TestWhatIsNotTheLostEndIsNotAppended(t *testing.T) {
	t.Parallel()
	l, epoch, lost := lossOf(t)
	changed := func(change func(*eventstore.LogEntry)) []eventstore.LogEntry {
		entries := append([]eventstore.LogEntry{}, lost...)
		change(&entries[2])
		return entries
	}
	receipt := *lost[2].Receipt
	receipt.Position = 3
	for name, entries := range map[string][]eventstore.LogEntry{
		"its first is missing":    lost[1:],
		"one is missing":          append(append([]eventstore.LogEntry{}, lost[:2]...), lost[3]),
		"its last command is cut": lost[:1],
		"there is nothing":        nil,
		"a command is cut":        changed(func(e *eventstore.LogEntry) { e.Receipt = nil }),
		"other data":              changed(func(e *eventstore.LogEntry) { e.Data = []byte(`{"n":2}`) }),
		"another reason":          changed(func(e *eventstore.LogEntry) { e.Reason = "forged" }),
		"another hash":            changed(func(e *eventstore.LogEntry) { e.LeafHash = lost[0].LeafHash }),
		"another epoch":           changed(func(e *eventstore.LogEntry) { e.Epoch = uuid.New() }),
		"another event's receipt": changed(func(e *eventstore.LogEntry) { e.Receipt = &receipt }),
	} {
		for _, size := range []int{1, 10} {
			done, err := l.relayer.Reappend(t.Context(), epoch, 2, parts(entries, size))
			require.ErrorIs(t, err, eventstore.ErrNotTheTail, name)
			require.False(t, done)
		}
	}
	done, err := l.relayer.Reappend(t.Context(), uuid.New(), 2, parts(changed(func(*eventstore.LogEntry) {}), 10))
	require.ErrorIs(t, err, eventstore.ErrNotTheTail)
	require.False(t, done)
	head, _, err := l.relayer.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, head)

	// A command was accepted meanwhile: it is the truth now.
	l.append(t, one(nil, event("a:5", 1)))
	done, err = l.relayer.Reappend(t.Context(), epoch, 2, parts(lost, 10))
	require.NoError(t, err)
	require.False(t, done)
	head, _, err = l.relayer.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, head)
}

// An answer given since, on the shorter log, to the same key is what its caller knows.
func TestAReceiptGivenSinceIsKept(t *testing.T) {
	t.Parallel()
	l, epoch, lost := lossOf(t)
	refused := eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: meta("acme"), IdempotencyKey: "k", RequestHash: []byte{1}, Refusal: []byte(`{"code":"gone"}`), ResourceID: "",
	}}}
	l.append(t, refused)
	done, err := l.relayer.Reappend(t.Context(), epoch, 2, parts(lost, 10))
	require.NoError(t, err)
	require.True(t, done)
	found, err := l.command.FindReceipts(t.Context(), []eventstore.ReceiptKey{{Org: "acme", Caller: "ana", Key: "k"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.JSONEq(t, `{"code":"gone"}`, string(found[0].Refusal))
}

func TestOnlyTheRelayMaySettleALoss(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for _, role := range []eventstore.Role{eventstore.RoleCommand, eventstore.RoleProjector, eventstore.RoleQuery} {
		store := eventstore.New(hubtest.Pool(t, l.url, string(role)))
		_, err := store.Fork(t.Context(), lossAt(uuid.New(), 9, uuid.Nil, 0))
		assert.ErrorContains(t, err, "permission denied", role)
		entry := eventstore.LogEntry{}
		entry.Position, entry.Receipt = 1, &eventstore.Receipt{}
		_, err = store.Reappend(t.Context(), uuid.Nil, 0, parts([]eventstore.LogEntry{entry}, 1))
		assert.ErrorContains(t, err, "permission denied", role)
		_, err = store.History(t.Context())
		assert.NoError(t, err, role)
	}
}

// leafHolds reports that every leaf hash is that of its row.
func leafHolds(t *testing.T, l *log) bool {
	t.Helper()
	var wrong int
	require.NoError(t, l.admin(t).QueryRow(t.Context(),
		`SELECT count(*) FROM events e WHERE e.leaf_hash <> sha256('\x00'::bytea || event_leaf(e))`).Scan(&wrong))
	return wrong == 0
}

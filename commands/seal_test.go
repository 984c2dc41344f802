package commands_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// planted is in everything that must not be seen.
const planted = "planted-secret-4711"

// sealing is a loop of a process of its own, with what it seals by.
func (s system) sealing(t *testing.T) (*commands.Loop, *keyring.Keyring) {
	t.Helper()
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	pool := hubtest.Pool(t, s.url, string(eventstore.RoleCommand))
	keys := keyring.New(keyring.Options{Pool: pool, Masters: masters})
	folds := entity.Folds()
	folds["counter"] = counter{}
	l := commands.New(commands.Options{
		Store: eventstore.New(pool), Codec: eventstore.NewCodec(append(entity.Kinds(), domain.Kind[added]())...), Folds: folds, Keys: keys,
		Log: slog.New(slog.DiscardHandler), Fingerprint: func() []byte { return []byte("of a test") },
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
	return l, keys
}

func attributes(text string) map[string]json.RawMessage {
	var found map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		panic(err)
	}
	return found
}

func accepted(t *testing.T, l *commands.Loop, s commands.Submission) commands.Receipt {
	t.Helper()
	receipt, err := l.Submit(t.Context(), s)
	require.NoError(t, err)
	return receipt
}

func definePatients(t *testing.T, l *commands.Loop) {
	t.Helper()
	accepted(t, l, submission(entities.DefineEntityType{
		Name: "patient", Schema: json.RawMessage(`{"properties":{"age":{"type":"integer"}}}`), DataSubject: true, Sensitive: []string{"diagnosis"},
	}))
}

func admit(id uuid.UUID, key string) entities.CreateEntity {
	return entities.CreateEntity{ID: id, Type: "patient", Key: key, Attributes: attributes(`{"name":"` + planted + `","diagnosis":"` + planted + `","age":7}`)}
}

// everything is all text of the log's database.
func (s system) everything(t *testing.T) string {
	t.Helper()
	admin := hubtest.Pool(t, s.url, "")
	var all strings.Builder
	for _, query := range []string{
		`SELECT string_agg(convert_from(data, 'UTF8') || e::text, ' ') FROM events e`, `SELECT string_agg(r::text, ' ') FROM receipts r`,
		`SELECT string_agg(t::text, ' ') FROM event_tags t`, `SELECT string_agg(encode(data, 'escape') || b::text, ' ') FROM boundary_snapshots b`,
		`SELECT string_agg(k::text, ' ') FROM hub_keys.subject_keys k`, `SELECT string_agg(k::text, ' ') FROM hub_keys.tokens k`,
	} {
		var text *string
		require.NoError(t, admin.QueryRow(t.Context(), query).Scan(&text))
		if text != nil {
			all.WriteString(*text)
		}
	}
	return all.String()
}

func (s system) count(t *testing.T, table string) (rows int) {
	t.Helper()
	require.NoError(t, hubtest.Pool(t, s.url, "").QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&rows))
	return rows
}

func TestNothingInClearReachesTheLog(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, _ := s.sealing(t)
	definePatients(t, l)
	id := uuid.Must(uuid.NewV7())

	dry := submission(admit(uuid.Nil, planted))
	dry.DryRun, dry.Represent = true, entity.StreamKind
	answer := accepted(t, l, dry)
	assert.NotContains(t, string(answer.Events[0].Data), planted)
	assert.JSONEq(t, `"`+planted+`"`, string(answer.Resource.State.(entity.Entity).Attributes["name"]), "who sent it sees it")
	wrong := admit(uuid.Must(uuid.NewV7()), planted)
	wrong.Attributes["age"] = json.RawMessage(`"` + planted + `"`)
	_, err := l.Submit(t.Context(), keyed(wrong, "k-refused", "h"))
	require.Equal(t, "invalid_attributes", problem.Of(err).Code)
	assert.NotContains(t, err.Error(), planted)
	require.Zero(t, s.count(t, "hub_keys.subject_keys"), "neither leaves a key")
	require.Zero(t, s.count(t, "hub_keys.tokens"))

	create := keyed(admit(id, planted), "k", "h")
	create.Represent = entity.StreamKind
	first := accepted(t, l, create)
	again := accepted(t, l, create)
	assert.True(t, again.Replayed)
	for _, receipt := range []commands.Receipt{first, again} {
		state := receipt.Resource.State.(entity.Entity)
		assert.JSONEq(t, `"`+planted+`"`, string(state.Attributes["name"]))
		assert.JSONEq(t, `"***"`, string(state.Attributes["diagnosis"]))
		assert.Equal(t, planted, state.Key)
	}
	accepted(t, l, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"diagnosis":["` + planted + `"],"city":"` + planted + `"}}`)}))
	same := accepted(t, l, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"city":"` + planted + `","age":7}}`)}))
	assert.Empty(t, same.Events, "what does not change keeps its ciphertext")
	_, err = l.Submit(t.Context(), keyed(admit(uuid.Must(uuid.NewV7()), planted), "k-taken", "h"))
	require.Equal(t, "key_taken", problem.Of(err).Code)

	assert.NotContains(t, s.everything(t), planted)
	assert.Equal(t, 1, s.count(t, "hub_keys.subject_keys"))
	assert.Equal(t, 1, s.count(t, "hub_keys.tokens"))

	// Another process opens what this one has sealed, decides on it and seals by the same key.
	other, _ := s.sealing(t)
	_, err = other.Submit(t.Context(), submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"age":"old"}}`)}))
	require.Equal(t, "invalid_attributes", problem.Of(err).Code)
	patched := submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"age":8}}`)})
	patched.Represent = entity.StreamKind
	state := accepted(t, other, patched).Resource.State.(entity.Entity)
	assert.JSONEq(t, `8`, string(state.Attributes["age"]))
	assert.JSONEq(t, `"`+planted+`"`, string(state.Attributes["name"]))
	assert.Equal(t, 1, s.count(t, "hub_keys.subject_keys"))
}

// Of many who bring one personal key at once, in several processes, exactly one gets it.
// A key is on disk exactly when something is sealed by it: a new thing of a type with
// sensitive values has none before it has such a value, and no trace of it stays in memory.
func TestWhatHasNothingSealedHasNoKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, _ := s.sealing(t)
	accepted(t, l, submission(entities.DefineEntityType{Name: "customer", Schema: json.RawMessage(`{}`), Sensitive: []string{"iban"}}))
	id := uuid.Must(uuid.NewV7())
	accepted(t, l, submission(entities.CreateEntity{ID: id, Type: "customer", Attributes: attributes(`{"n":1}`)}))
	accepted(t, l, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"n":2}}`)}))
	assert.Zero(t, s.count(t, "hub_keys.subject_keys"))
	accepted(t, l, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"iban":"` + planted + `"}}`)}))
	assert.Equal(t, 1, s.count(t, "hub_keys.subject_keys"))
	accepted(t, l, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"iban":"DE2"}}`)}))

	// Another process opens it: it is the key that was kept.
	other, _ := s.sealing(t)
	unchanged := accepted(t, other, submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"iban":"DE2"}}`)}))
	assert.Empty(t, unchanged.Events)
	assert.Equal(t, 1, s.count(t, "hub_keys.subject_keys"))
}

func TestOneWinnerPerPersonalKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	first, _ := s.sealing(t)
	second, _ := s.sealing(t)
	definePatients(t, first)
	const keys, racers = 5, 8
	var wait sync.WaitGroup
	var mu sync.Mutex
	won := map[string]int{}
	for k := range keys {
		key := string(rune('a' + k))
		for i := range racers {
			l := []*commands.Loop{first, second}[i%2]
			wait.Go(func() {
				_, err := l.Submit(t.Context(), submission(admit(uuid.Must(uuid.NewV7()), key)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won[key]++
				} else if p := problem.Of(err); p == nil || p.Code != "key_taken" {
					t.Errorf("%v", err)
				}
			})
		}
	}
	wait.Wait()
	for k := range keys {
		assert.Equal(t, 1, won[string(rune('a'+k))])
	}
	assert.Equal(t, keys, s.count(t, "hub_keys.tokens"))
	assert.Equal(t, keys, s.count(t, "hub_keys.subject_keys"), "who was refused left no key")
}

func TestCommandsOnAnErasedSubject(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, keys := s.sealing(t)
	definePatients(t, l)
	id := uuid.Must(uuid.NewV7())
	create := keyed(admit(id, "P-1"), "k", "h")
	create.Represent = entity.StreamKind
	accepted(t, l, create)
	require.NoError(t, keys.Erase(t.Context(), keyring.Ref{Org: "acme", Subject: id.String()}, nil))
	_, err := l.Submit(t.Context(), submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"age":8}}`)}))
	require.Equal(t, "subject_erased", problem.Of(err).Code)
	state := accepted(t, l, create).Resource.State.(entity.Entity)
	assert.NotContains(t, state.Attributes, "name", "a repeated answer shows what is left")
	assert.Empty(t, state.Key)
	archived := submission(entities.ArchiveEntity{ID: id})
	archived.Represent = entity.StreamKind
	accepted(t, l, archived)
}

// A value that somebody moves in the database, to another field or into the event of
// another entity, is not opened there: the command fails, and nothing is answered.
func TestMovedCiphertextFailsClosed(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, keys := s.sealing(t)
	definePatients(t, l)
	id := uuid.Must(uuid.NewV7())
	accepted(t, l, submission(admit(id, "")))
	events, err := s.store.Read(t.Context(), "acme", eventstore.Query{Stream: entity.Stream(id)})
	require.NoError(t, err)
	require.Len(t, events, 1)
	fact, err := eventstore.NewCodec(entity.Kinds()...).Fact(events[0])
	require.NoError(t, err)
	values := fact.Payload.(entity.Created).SealedValues(events[0].ID)
	require.Len(t, values, 3)
	found, err := keys.Load(t.Context(), []keyring.Ref{{Org: "acme", Subject: id.String()}})
	require.NoError(t, err)
	key := found[keyring.Ref{Org: "acme", Subject: id.String()}]
	name := values["name"]
	plain, err := keyring.Open(keyring.Place{Event: name.Event, Pointer: name.Pointer}, name.Text, key)
	require.NoError(t, err)
	assert.JSONEq(t, `"`+planted+`"`, string(plain))
	_, err = keyring.Open(keyring.Place{Event: name.Event, Pointer: values["diagnosis"].Pointer}, name.Text, key)
	require.ErrorIs(t, err, keyring.ErrMoved)
	_, err = keyring.Open(keyring.Place{Event: uuid.Must(uuid.NewV7()), Pointer: name.Pointer}, name.Text, key)
	require.ErrorIs(t, err, keyring.ErrMoved)

	// The same event again, under another id: as a forger with the owner's rights could add it.
	forged := uuid.Must(uuid.NewV7())
	_, err = hubtest.Pool(t, s.url, "").Exec(t.Context(), `
		WITH forged AS (
		  INSERT INTO events
		  SELECT head + 1, org_position + 1, e.epoch, gen_random_uuid(), org, 'entity:' || $1::text, 1, type, schema_version, ARRAY['entity:' || $1::text],
		         subjects, data, actor, NULL, NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('')
		    FROM log_head(), events e WHERE e.id = $2 RETURNING position)
		INSERT INTO event_tags SELECT 'acme', 'entity:' || $1::text, position FROM forged`, forged.String(), events[0].ID)
	require.NoError(t, err)
	_, err = l.Submit(t.Context(), submission(entities.PatchEntity{ID: forged, Patch: json.RawMessage(`{"attributes":{"age":8}}`)}))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), planted)

	// And as it is, in another organisation.
	_, err = hubtest.Pool(t, s.url, "").Exec(t.Context(), `
		WITH forged AS (
		  INSERT INTO events
		  SELECT head + 1, 1, e.epoch, id, 'other', stream, 1, type, schema_version, tags,
		         subjects, data, actor, NULL, NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('')
		    FROM log_head(), events e WHERE e.id = $1 RETURNING position)
		INSERT INTO event_tags SELECT 'other', $2, position FROM forged`, events[0].ID, string(entity.Stream(id)))
	require.NoError(t, err)
	elsewhere := submission(entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"age":8}}`)})
	elsewhere.Meta.Org, elsewhere.Represent = "other", entity.StreamKind
	_, err = l.Submit(t.Context(), elsewhere)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), planted)
	require.Equal(t, 1, s.count(t, "hub_keys.subject_keys"), "no key was made for it there")
}

// Why something was done is sealed for all whom that is about, for each event by itself,
// and is in clear where it is about nobody.
func TestReasonsAreSealedForWhomTheyAreAbout(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, keys := s.sealing(t)
	because := func(d domain.Decider) commands.Submission {
		given := submission(d)
		given.Meta.Reason = planted
		return given
	}
	accepted(t, l, because(add{counter: "counter:1", amount: 1, subjects: []string{"p", "q"}}))
	accepted(t, l, because(add{counter: "counter:1", amount: 1, subjects: []string{"p"}}))
	accepted(t, l, submission(add{counter: "counter:1", amount: 1, subjects: []string{"p"}}))
	assert.NotContains(t, s.everything(t), planted)
	_, err := l.Submit(t.Context(), because(add{counter: "counter:1", amount: 1, subjects: []string{"r"}, unnamed: true}))
	require.Error(t, err)
	accepted(t, l, because(add{counter: "counter:1", amount: 1}))

	events, err := s.store.Read(t.Context(), "acme", eventstore.Query{Stream: "counter:1"})
	require.NoError(t, err)
	require.Len(t, events, 4)
	assert.Equal(t, planted, events[3].Reason)
	assert.Empty(t, events[2].Reason)
	found, err := keys.Load(t.Context(), keyring.Refs("acme", []string{"p", "q"}))
	require.NoError(t, err)
	var reasons []domain.Sealed
	for _, e := range events[:2] {
		value, ok := domain.ParseSealed([]byte(e.Reason), e.ID, domain.ReasonPointer)
		require.True(t, ok)
		assert.Equal(t, e.Subjects, value.Subjects())
		assert.True(t, value.Sensitive)
		plain, err := found.Open("acme", value)
		require.NoError(t, err)
		assert.JSONEq(t, `"`+planted+`"`, string(plain))
		reasons = append(reasons, value)
	}
	moved := reasons[1]
	moved.Event = events[0].ID
	_, err = found.Open("acme", moved)
	require.ErrorIs(t, err, keyring.ErrMoved)

	// With one of them goes what is about both, and a reason for more is refused.
	require.NoError(t, keys.Erase(t.Context(), keyring.Ref{Org: "acme", Subject: "q"}, nil))
	found, err = keys.Load(t.Context(), keyring.Refs("acme", []string{"p", "q"}))
	require.NoError(t, err)
	_, err = found.Open("acme", reasons[0])
	require.ErrorIs(t, err, domain.ErrErased)
	_, err = found.Open("acme", reasons[1])
	require.NoError(t, err)
	_, err = l.Submit(t.Context(), because(add{counter: "counter:1", amount: 1, subjects: []string{"p", "q"}}))
	require.Equal(t, "subject_erased", problem.Of(err).Code)
	accepted(t, l, submission(add{counter: "counter:1", amount: 1, subjects: []string{"p", "q"}}))
}

package projections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// vault seals as the command loop does, and erases.
type vault struct {
	*hub
	keys *keyring.Keyring
	ref  keyring.Ref
	key  *keyring.Key
	// last is the id of the last event.
	last uuid.UUID
}

func newVault(t *testing.T, h *hub) *vault {
	t.Helper()
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	v := &vault{hub: h, ref: keyring.Ref{Org: "acme", Subject: uuid.Must(uuid.NewV7()).String()}}
	v.keys = keyring.New(keyring.Options{Pool: hubtest.Pool(t, h.url, string(eventstore.RoleCommand)), Masters: masters})
	v.key, err = v.keys.New(v.ref)
	require.NoError(t, err)
	h.options.Keys = v.projector(t)
	return v
}

// projector is a keyring of another process.
func (v *vault) projector(t *testing.T) *keyring.Keyring {
	t.Helper()
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	return keyring.New(keyring.Options{Pool: hubtest.Pool(t, v.url, string(eventstore.RoleProjector)), Masters: masters})
}

func (v *vault) secret(value string, sensitive bool) domain.Secret {
	return domain.NewSecret(json.RawMessage(value), sensitive, v.ref.Subject)
}

// record appends an event of the subject with its secrets sealed, and its key if that is new.
func (v *vault) record(t *testing.T, payload domain.Payload) int64 {
	t.Helper()
	v.last = uuid.Must(uuid.NewV7())
	if holder, ok := payload.(domain.Sealable); ok {
		var err error
		payload, err = holder.Seal(func(pointer string, s domain.Secret) (domain.Sealed, error) {
			return keyring.Keys{v.ref: v.key}.Seal(v.ref.Org, keyring.Place{Event: v.last, Pointer: pointer}, s)
		})
		require.NoError(t, err)
	}
	return v.raw(t, payload)
}

func (v *vault) raw(t *testing.T, payload domain.Payload) int64 {
	t.Helper()
	kind, schemaVersion, data, err := v.options.Codec.Encode(payload)
	require.NoError(t, err)
	stream := domain.NewTag(entity.StreamKind, v.ref.Subject)
	v.versions[stream]++
	turn := eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta:       domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7())},
		ResourceID: v.ref.Subject, Version: v.versions[stream],
		Events: []eventstore.NewEvent{{ID: v.last, Stream: stream, Version: v.versions[stream], Type: kind, SchemaVersion: schemaVersion, Tags: []domain.Tag{stream}, Data: data}},
	}}}
	if v.versions[stream] == 1 {
		turn.With = keyring.Keep([]*keyring.Key{v.key}, nil)
	}
	appended, err := v.command.Append(t.Context(), turn)
	require.NoError(t, err)
	require.False(t, appended.Refused())
	return appended.Base + 1
}

// patient is the first event of a data subject.
func (v *vault) patient() entity.Created {
	key := v.secret(`"P-1"`, false)
	return entity.Created{Type: "patient", Attributes: map[string]json.RawMessage{}, Tags: []string{}, TypeVersion: 1, SecretKey: &key, Secrets: map[string]domain.Secret{
		"name": v.secret(`"Ana"`, false), "diagnosis": v.secret(`"A1"`, true), "notes": v.secret(`["x"]`, true),
	}}
}

// row is what the view has of the subject.
type row struct {
	key        *string
	attributes map[string]any
	sealed     map[string]domain.Sealed
	hashes     map[string]string
}

func (v *vault) row(t *testing.T) (found row) {
	t.Helper()
	var attributes, sealed []byte
	require.NoError(t, v.admin.QueryRow(t.Context(), `SELECT key, attributes, sealed FROM `+quoted(v.view(t).Schema)+`.entities WHERE id = $1`, v.ref.Subject).
		Scan(&found.key, &attributes, &sealed))
	require.NoError(t, json.Unmarshal(attributes, &found.attributes))
	id := uuid.MustParse(v.ref.Subject)
	var err error
	found.sealed, err = entity.ReadSealedRow(id, sealed)
	require.NoError(t, err)
	var hashed map[string]struct{ Hash string }
	require.NoError(t, json.Unmarshal(sealed, &hashed))
	found.hashes = map[string]string{}
	for name, value := range hashed {
		found.hashes[name] = value.Hash
	}
	return found
}

func TestSealedValuesInViews(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v := newVault(t, h)
	h.run(t, New(h.options))
	v.record(t, v.patient())
	created := v.last
	h.reaches(t, 1)
	now := v.row(t)
	require.NotNil(t, now.key)
	assert.Equal(t, "P-1", *now.key)
	assert.Equal(t, map[string]any{"name": "Ana", "diagnosis": "***", "notes": "***"}, now.attributes)
	require.Len(t, now.sealed, 2)
	assert.Equal(t, created, now.sealed["diagnosis"].Event)
	assert.Empty(t, now.hashes["notes"], "what is no single value is not found by equality")
	hasher, err := v.keys.Hasher(t.Context(), "acme")
	require.NoError(t, err)
	assert.Len(t, now.hashes["diagnosis"], 2*len(hasher.Hash()))

	// A patch replaces one, takes one away and leaves the third.
	at := v.record(t, entity.Updated{Attributes: map[string]json.RawMessage{"notes": json.RawMessage("null")}, Secrets: map[string]domain.Secret{"name": v.secret(`"Eva"`, false)}})
	h.reaches(t, at)
	now = v.row(t)
	assert.Equal(t, map[string]any{"name": "Eva", "diagnosis": "***"}, now.attributes)
	require.Len(t, now.sealed, 1)
	assert.Equal(t, created, now.sealed["diagnosis"].Event, "it opens in the event that it was sealed in")
	at = v.record(t, entity.Updated{Secrets: map[string]domain.Secret{"diagnosis": v.secret(`"B2"`, true)}})
	h.reaches(t, at)
	assert.Equal(t, v.last, v.row(t).sealed["diagnosis"].Event)
	h.checkAgainstRebuild(t)
}

// A sealed value is found by the term of its hash, of however many attributes it is one.
func TestTermsOfSealedValues(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, attributes := range []int{1, maxTerms / 2, maxTerms/2 + 1} {
		v := newVault(t, h)
		writer := h.writer(t, h.emptySchema(t, fmt.Sprintf("entities_v1_%d", attributes)).schema)
		created := v.patient()
		created.SecretKey, created.Secrets = nil, map[string]domain.Secret{}
		for i := range attributes {
			created.Secrets[fmt.Sprint("a", i)] = v.secret(strconv.Itoa(i), true)
		}
		v.record(t, created)
		events, err := v.command.Read(t.Context(), "acme", eventstore.Query{Stream: domain.NewTag(entity.StreamKind, v.ref.Subject)})
		require.NoError(t, err)
		require.NoError(t, writer.write(t.Context(), events))
		requireTerms(t, t, h, writer.at.schema, "acme")
		var terms int
		require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT cardinality(terms) FROM `+quoted(writer.at.schema)+`.entities`).Scan(&terms))
		if attributes*2 > maxTerms {
			assert.Equal(t, 1, terms, "too many are one")
		} else {
			assert.Equal(t, attributes*2, terms)
		}
	}
}

// History shows that a sensitive value changed, and never what it is.
func TestSensitiveValuesAreMaskedInHistory(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.options.Projections = []Projection{EntityHistory()}
	v := newVault(t, h)
	_, err := ensureView(t.Context(), h.options, EntityHistory())
	require.NoError(t, err)
	h.run(t, New(h.options))
	v.record(t, v.patient())
	h.reaches(t, v.record(t, entity.Updated{Secrets: map[string]domain.Secret{"diagnosis": v.secret(`"B2"`, true)}}))
	var attributes string
	var changed []string
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT attributes::text, changed FROM entity_history_v1.entity_versions WHERE version = 2`).Scan(&attributes, &changed))
	assert.JSONEq(t, `{"name":"Ana","diagnosis":"***","notes":"***"}`, attributes)
	assert.Equal(t, []string{"diagnosis"}, changed)
}

// Once the key is gone a view that is built anew has nothing of the person, and the same
// each time.
func TestAnErasedSubjectIsBuiltWithoutItsValues(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v := newVault(t, h)
	stop := h.run(t, New(h.options))
	v.record(t, v.patient())
	at := v.record(t, entity.Updated{Attributes: map[string]json.RawMessage{"open": json.RawMessage("1")}, Secrets: map[string]domain.Secret{"city": v.secret(`"Paris"`, false)}})
	h.reaches(t, at)
	stop() // it could be the one that builds, with a key that it has in memory still
	require.NoError(t, v.keys.Erase(t.Context(), v.ref, nil))
	h.options.Keys = v.projector(t)
	for range 2 {
		require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
		now := v.row(t)
		assert.Nil(t, now.key)
		assert.Equal(t, map[string]any{"open": 1.0}, now.attributes)
		assert.Empty(t, now.sealed)
	}
	h.checkAgainstRebuild(t)
}

// Ciphertext that was put elsewhere parks its stream: the view shows nothing of it.
func TestMovedCiphertextParksItsStream(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v := newVault(t, h)
	_, err := ensureView(t.Context(), h.options, Entities())
	require.NoError(t, err)
	h.run(t, New(h.options))
	v.last = uuid.Must(uuid.NewV7())
	text, err := keyring.Seal(keyring.Place{Event: v.last, Pointer: "/attributes/diagnosis"}, []byte(`"A1"`), v.key)
	require.NoError(t, err)
	v.raw(t, entity.Created{Type: "patient", Tags: []string{}, Attributes: map[string]json.RawMessage{
		"name": domain.Sealed{Text: text, Subject: v.ref.Subject}.Data(),
	}})
	h.until(t, "the stream to be parked", func() bool { return h.view(t).Parked == 1 })
	var rows int
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT count(*) FROM `+quoted(h.view(t).Schema)+`.entities`).Scan(&rows))
	assert.Zero(t, rows)
}

// Without the right master key the view waits; nothing is taken for erased.
func TestAProjectorWithoutTheMasterKeyWaits(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v := newVault(t, h)
	right := h.options.Keys
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{8}, 32))
	require.NoError(t, err)
	h.options.Keys = keyring.New(keyring.Options{Pool: hubtest.Pool(t, v.url, string(eventstore.RoleProjector)), Masters: masters})
	_, err = ensureView(t.Context(), h.options, Entities())
	require.NoError(t, err)
	stop := h.run(t, New(h.options))
	v.record(t, v.patient())
	h.until(t, "the view to say why", func() bool { return h.view(t).Err == keyring.ErrOtherMaster.Error() })
	assert.Zero(t, h.view(t).Parked)
	stop()
	h.options.Keys = right
	h.run(t, New(h.options))
	h.reaches(t, 1)
	assert.Equal(t, "Ana", v.row(t).attributes["name"])
}

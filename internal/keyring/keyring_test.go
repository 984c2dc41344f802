package keyring_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

var (
	first  = bytes.Repeat([]byte{1}, 32)
	second = bytes.Repeat([]byte{2}, 32)
	ana    = keyring.Ref{Org: "acme", Subject: "ana"}
	place  = keyring.Place{Event: uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a"), Pointer: "/attributes/email"}
)

// clock is a time that the test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type ring struct {
	*keyring.Keyring
	pool  *pgxpool.Pool
	clock *clock
}

// open is a keyring as a process of a role has it.
func open(t *testing.T, url, role string, current []byte, others ...[]byte) ring {
	t.Helper()
	masters, err := keyring.NewMasters(current, others...)
	require.NoError(t, err)
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	pool := hubtest.Pool(t, url, role)
	return ring{keyring.New(keyring.Options{Pool: pool, Masters: masters, ReadOnly: role == "hub_query", Now: c.now}), pool, c}
}

// keep puts keys and tokens on disk, as an append does.
func (r ring) keep(t *testing.T, keys []*keyring.Key, tokens ...keyring.Token) error {
	t.Helper()
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.appended', 'yes', true)`)
	keyring.Keep(keys, tokens)(batch)
	return r.pool.SendBatch(t.Context(), batch).Close()
}

// made is a new key of a subject, on disk.
func (r ring) made(t *testing.T, ref keyring.Ref) *keyring.Key {
	t.Helper()
	key, err := r.New(ref)
	require.NoError(t, err)
	require.NoError(t, r.keep(t, []*keyring.Key{key}))
	return key
}

func (r ring) load(t *testing.T, ref keyring.Ref) *keyring.Key {
	t.Helper()
	found, err := r.Load(t.Context(), []keyring.Ref{ref})
	require.NoError(t, err)
	return found[ref]
}

func TestAValueOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	key := r.made(t, ana)
	text, err := keyring.Seal(place, []byte(`"ana@example.org"`), key)
	require.NoError(t, err)
	plain, err := keyring.Open(place, text, key)
	require.NoError(t, err)
	assert.Equal(t, `"ana@example.org"`, string(plain))

	other := place
	other.Event[15]++
	_, err = keyring.Open(other, text, key)
	require.ErrorIs(t, err, keyring.ErrMoved, "another event")
	_, err = keyring.Open(keyring.Place{Event: place.Event, Pointer: "/attributes/name"}, text, key)
	require.ErrorIs(t, err, keyring.ErrMoved, "another field")
	for _, ref := range []keyring.Ref{{Org: "other", Subject: "ana"}, {Org: "acme", Subject: "ben"}, {Org: "acmea", Subject: "na"}} {
		_, err = keyring.Open(place, text, r.made(t, ref))
		require.ErrorIs(t, err, keyring.ErrMoved, "%v", ref)
	}
	for _, changed := range []string{"", "%", text[:len(text)-4], text[:4], "B" + text[1:], text + "AAAA", text + "="} {
		_, err = keyring.Open(place, changed, key)
		require.ErrorIs(t, err, keyring.ErrMoved, "%q", changed)
	}
	again, err := keyring.Seal(place, []byte(`"ana@example.org"`), key)
	require.NoError(t, err)
	assert.NotEqual(t, text, again, "equal values do not show")
}

// A wrapped key that somebody copies into the row of another subject or organisation is
// of no use there.
func TestAWrappedKeyIsBoundToItsSubject(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	r.made(t, ana)
	for _, ref := range []keyring.Ref{{Org: "acme", Subject: "ben"}, {Org: "other", Subject: "ana"}} {
		_, err := hubtest.Pool(t, url, "").Exec(t.Context(), `INSERT INTO hub_keys.subject_keys (org, subject, wrapped, master)
			SELECT $1, $2, wrapped, master FROM hub_keys.subject_keys WHERE (org, subject) = ('acme', 'ana')`, ref.Org, ref.Subject)
		require.NoError(t, err)
		_, err = r.Load(t.Context(), []keyring.Ref{ref})
		require.Error(t, err, "%v", ref)
	}
}

func TestOneOfTwoNewKeysWins(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	const racers = 8
	var wait sync.WaitGroup
	rings, keys, errs := make([]ring, racers), make([]*keyring.Key, racers), make([]error, racers)
	for i := range racers {
		rings[i] = open(t, url, "hub_command", first)
		require.Nil(t, rings[i].load(t, ana), "nobody has a key yet")
		key, err := rings[i].New(ana)
		require.NoError(t, err)
		keys[i] = key
	}
	for i := range racers {
		wait.Go(func() { errs[i] = rings[i].keep(t, []*keyring.Key{keys[i]}) })
	}
	wait.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won, "two have won")
			won = i
		} else {
			require.True(t, keyring.Taken(err), "%v", err)
		}
	}
	require.NotEqual(t, -1, won)
	text, err := keyring.Seal(place, []byte("7"), keys[won])
	require.NoError(t, err)
	plain, err := keyring.Open(place, text, open(t, url, "hub_command", first).load(t, ana))
	require.NoError(t, err)
	assert.Equal(t, "7", string(plain))
}

// What is not kept leaves nothing behind: a command that is refused makes no key.
func TestANewKeyIsInMemoryUntilItIsKept(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	key, err := r.New(ana)
	require.NoError(t, err)
	assert.True(t, key.New())
	assert.Nil(t, r.load(t, ana))
	r.Remember([]*keyring.Key{key})
	assert.False(t, r.load(t, ana).New(), "who kept it does not look for it")
}

func TestErasing(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r, other := open(t, url, "hub_command", first), open(t, url, "hub_projector", first)
	key := r.made(t, ana)
	text, err := keyring.Seal(place, []byte("7"), key)
	require.NoError(t, err)
	hasher, err := r.Hasher(t.Context(), "acme")
	require.NoError(t, err)
	token, kept := keyring.NewToken("acme", hasher.Hash("key", "customer", "C-17")), keyring.NewToken("acme", hasher.Hash("key", "customer", "C-18"))
	require.NoError(t, r.keep(t, nil, token, kept))
	require.False(t, other.load(t, ana).Erased())

	require.NoError(t, r.Erase(t.Context(), ana, []uuid.UUID{token.ID}))
	require.NoError(t, r.Erase(t.Context(), ana, nil), "twice is once")
	erased := r.load(t, ana)
	require.True(t, erased.Erased())
	_, err = keyring.Open(place, text, erased)
	require.ErrorIs(t, err, domain.ErrErased)
	_, err = keyring.Seal(place, []byte("7"), erased)
	require.ErrorIs(t, err, domain.ErrErased)
	r.Remember([]*keyring.Key{key})
	require.True(t, r.load(t, ana).Erased(), "who was slow does not bring it back")

	found, err := r.Tokens(t.Context(), []keyring.Token{{Org: "acme", Hash: token.Hash}, {Org: "acme", Hash: kept.Hash}, {Org: "other", Hash: kept.Hash}})
	require.NoError(t, err)
	assert.Equal(t, []uuid.UUID{uuid.Nil, kept.ID, uuid.Nil}, []uuid.UUID{found[0].ID, found[1].ID, found[2].ID})

	// Another process may use what it has for the time of its cache, and no longer.
	require.False(t, other.load(t, ana).Erased())
	other.clock.pass(30 * time.Second)
	require.True(t, other.load(t, ana).Erased())

	// For ever: no new key, and the row stays as it is.
	fresh, err := r.New(ana)
	require.NoError(t, err)
	require.True(t, keyring.Taken(r.keep(t, []*keyring.Key{fresh})))
	admin := hubtest.Pool(t, url, "")
	for _, statement := range []string{
		`UPDATE hub_keys.subject_keys SET wrapped = 'x', master = 'y', erased_at = NULL`, `DELETE FROM hub_keys.subject_keys`,
		`TRUNCATE hub_keys.subject_keys`, `UPDATE hub_keys.subject_keys SET erased_at = erased_at - interval '1 day'`,
		`UPDATE hub_keys.subject_keys SET subject = 'ben'`,
	} {
		_, err := admin.Exec(t.Context(), statement)
		require.Error(t, err, statement)
	}
	// A subject that never had a key can be erased too: nothing is ever sealed for it.
	ben := keyring.Ref{Org: "acme", Subject: "ben"}
	require.NoError(t, r.Erase(t.Context(), ben, nil))
	require.True(t, other.load(t, ben).Erased())
}

// Keyrings of one process have one cache: what one keeps the other opens without asking, and
// what one erases is gone for the other at once.
func TestKeyringsOfAProcessShareWhatIsUnwrapped(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	masters, err := keyring.NewMasters(first)
	require.NoError(t, err)
	cache := keyring.NewCache()
	commands := ring{Keyring: keyring.New(keyring.Options{Pool: hubtest.Pool(t, url, "hub_command"), Masters: masters, Cache: cache})}
	commands.pool = hubtest.Pool(t, url, "hub_command")
	closed := hubtest.Pool(t, url, "hub_projector")
	closed.Close() // so that asking it fails
	projector := ring{Keyring: keyring.New(keyring.Options{Pool: closed, Masters: masters, Cache: cache})}

	_, err = projector.Load(t.Context(), []keyring.Ref{ana})
	require.Error(t, err)
	key := commands.made(t, ana)
	text, err := keyring.Seal(place, []byte("7"), key)
	require.NoError(t, err)
	commands.Remember([]*keyring.Key{key})
	plain, err := keyring.Open(place, text, projector.load(t, ana))
	require.NoError(t, err)
	assert.Equal(t, "7", string(plain))
	require.NoError(t, commands.Erase(t.Context(), ana, nil))
	assert.True(t, projector.load(t, ana).Erased())
}

func TestKeyedHashes(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	query := open(t, url, "hub_query", first)
	none, err := query.Hasher(t.Context(), "acme")
	require.NoError(t, err)
	require.Nil(t, none, "reading makes no secret")

	const racers = 6
	hashes := make([][]byte, racers)
	var wait sync.WaitGroup
	for i := range racers {
		r := open(t, url, []string{"hub_command", "hub_projector"}[i%2], first)
		wait.Go(func() {
			hasher, err := r.Hasher(t.Context(), "acme")
			if assert.NoError(t, err) {
				hashes[i] = hasher.Hash("a", "b")
			}
		})
	}
	wait.Wait()
	for _, hash := range hashes {
		assert.Equal(t, hashes[0], hash, "all processes have one secret")
	}
	hasher, err := query.Hasher(t.Context(), "acme")
	require.NoError(t, err)
	assert.Equal(t, hashes[0], hasher.Hash("a", "b"))
	assert.NotEqual(t, hashes[0], hasher.Hash("ab", ""), "parts do not run together")
	apart, err := open(t, url, "hub_command", first).Hasher(t.Context(), "other")
	require.NoError(t, err)
	assert.NotEqual(t, hashes[0], apart.Hash("a", "b"), "another organisation's differ")
}

// A service has the functions that it needs, and of the tables nothing.
func TestServicesSeeNoKeysBeyondTheirFunctions(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	r.made(t, ana)
	may := map[string][]string{
		"hub_command":   {"load_keys", "ensure_secret", "find_masters", "keep", "find_tokens", "erase"},
		"hub_projector": {"load_keys", "ensure_secret", "find_masters"},
		"hub_query":     {"load_own_keys", "find_own_secret", "find_masters"},
		"hub_relay":     nil,
		"hub_log":       nil,
	}
	admin := hubtest.Pool(t, url, "")
	for role, functions := range may {
		var held []string
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT coalesce(array_agg(p.proname::text), '{}') FROM pg_proc p
			WHERE p.pronamespace = 'hub_keys'::regnamespace AND has_function_privilege($1, p.oid, 'EXECUTE')
			  AND has_schema_privilege($1, 'hub_keys', 'USAGE')`, role).Scan(&held))
		assert.ElementsMatch(t, functions, held, role)
		pool := hubtest.Pool(t, url, role)
		for _, table := range []string{"masters", "subject_keys", "secrets", "tokens"} {
			_, err := pool.Exec(t.Context(), "SELECT FROM hub_keys."+table)
			require.Error(t, err, "%s reads %s", role, table)
		}
	}
	// Who answers queries loads keys of one organisation at a time.
	query := open(t, url, "hub_query", first)
	require.NotNil(t, query.load(t, ana))
	require.Nil(t, query.load(t, keyring.Ref{Org: "other", Subject: "ana"}))
	_, err := query.Load(t.Context(), []keyring.Ref{{Org: "acme", Subject: "x"}, {Org: "other", Subject: "y"}})
	require.Error(t, err)
	_, err = hubtest.Pool(t, url, "hub_query").Exec(t.Context(), `SELECT hub_keys.load_own_keys('{ana}')`)
	require.Error(t, err, "without an organisation")
}

func TestTheCacheIsBoundedAndAsksOnce(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	r.made(t, ana)
	require.NotNil(t, r.load(t, ana))
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Load(stopped, []keyring.Ref{ana})
	require.NoError(t, err, "a cached key needs no database")
	for i := range 10_000 {
		key, err := r.New(keyring.Ref{Org: "acme", Subject: fmt.Sprint(i)})
		require.NoError(t, err)
		r.Remember([]*keyring.Key{key})
	}
	_, err = r.Load(stopped, []keyring.Ref{ana})
	require.Error(t, err, "the oldest has left")
}

func TestKeysAreNeverPrinted(t *testing.T) {
	t.Parallel()
	masters, err := keyring.NewMasters(first)
	require.NoError(t, err)
	key, err := keyring.New(keyring.Options{Masters: masters}).New(ana)
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		assert.Equal(t, "***", fmt.Sprintf(format, key))
		assert.Equal(t, "***", fmt.Sprintf(format, masters))
	}
}

// Package keyring keeps the keys that open sealed values: a random one for each data
// subject of an organisation, wrapped by the master key, which is derived from SECRET_KEY
// and in no database.
//
//	Load ─▶ Keys (unwrapped, cached briefly) ─▶ Seal, Open     no I/O
//	New  ─▶ Key, in memory only ─▶ Keep: a row, in the transaction of the events that use it
//	Erase ─▶ the row stays as a tombstone, and what was sealed is lost
//
// So a key is on disk exactly when something is that was sealed by it, and of two who
// make one for the same subject the second fails and decides again with the key of the
// first. Beside the keys there is, for each organisation, a secret for keyed hashes (Hasher)
// and tokens that stand for personal names in tags (Tokens).
package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Ref names a data subject.
type Ref struct{ Org, Subject string }

// Keyring gives the keys of subjects. It is safe for concurrent use.
type Keyring struct {
	pool    *pgxpool.Pool
	masters *Masters
	// own says that the pool may see one organisation at a time only.
	own     bool
	now     func() time.Time
	metrics metrics
	cache   *Cache
}

// Options are what a keyring needs.
type Options struct {
	// Pool is of the log's database, as hub_command or hub_projector; or, with ReadOnly, as
	// hub_query.
	Pool     *pgxpool.Pool
	Masters  *Masters
	ReadOnly bool
	// Cache is nil for one of its own.
	Cache *Cache
	// Metrics gets what the keyring counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Now is time.Now but in tests.
	Now func() time.Time
}

// New makes a keyring.
func New(o Options) *Keyring {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cache == nil {
		o.Cache = NewCache()
	}
	return &Keyring{pool: o.Pool, masters: o.Masters, own: o.ReadOnly, now: o.Now, metrics: newMetrics(o.Metrics), cache: o.Cache}
}

// Load gives the keys of subjects; those without one are missing, and that of an erased
// subject opens nothing (domain.ErrErased). One round trip, or none; a ReadOnly keyring loads
// for one organisation at a time.
func (k *Keyring) Load(ctx context.Context, refs []Ref) (Keys, error) {
	found := make(Keys, len(refs))
	var missing []Ref
	k.cache.mu.Lock()
	for _, ref := range refs {
		if key := k.fresh(ref); key != nil {
			found[ref] = key
		} else {
			missing = append(missing, ref)
		}
	}
	k.cache.mu.Unlock()
	k.metrics.cached.Add(float64(len(found)))
	if len(missing) == 0 {
		return found, nil
	}
	k.metrics.loaded.Add(float64(len(missing)))
	began := time.Now()
	loaded, err := k.read(ctx, missing)
	k.metrics.seconds.Observe(time.Since(began).Seconds())
	if err != nil {
		k.metrics.failures.Inc()
		return nil, err
	}
	maps.Copy(found, loaded)
	k.cache.mu.Lock()
	defer k.cache.mu.Unlock()
	for _, key := range loaded {
		k.put(key)
	}
	return found, nil
}

// Remember puts new keys into the cache that Keep has put on disk.
func (k *Keyring) Remember(keys []*Key) {
	k.cache.mu.Lock()
	defer k.cache.mu.Unlock()
	for _, key := range keys {
		// Without what is of no use on disk, and as a key that is not new.
		k.put(&Key{ref: key.ref, aead: key.aead})
	}
}

// read asks the database.
func (k *Keyring) read(ctx context.Context, refs []Ref) (Keys, error) {
	orgs, subjects := make([]string, len(refs)), make([]string, len(refs))
	for i, ref := range refs {
		orgs[i], subjects[i] = ref.Org, ref.Subject
	}
	batch := &pgx.Batch{}
	var query *pgx.QueuedQuery
	if k.own {
		for _, org := range orgs {
			if org != orgs[0] {
				return nil, errors.New("keys of several organisations cannot be loaded at once for reading")
			}
		}
		batch.Queue(`SELECT set_config('hub.org', $1, true)`, orgs[0])
		query = batch.Queue(`SELECT n, wrapped, master FROM hub_keys.load_own_keys($1)`, subjects)
	} else {
		query = batch.Queue(`SELECT n, wrapped, master FROM hub_keys.load_keys($1, $2)`, orgs, subjects)
	}
	found := make(Keys, len(refs))
	query.Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var n int
			var wrapped []byte
			var master *string
			if err := rows.Scan(&n, &wrapped, &master); err != nil {
				return err
			}
			ref := refs[n-1]
			key, err := k.unwrapped(ref, wrapped, master)
			if err != nil {
				return err
			}
			found[ref] = key
		}
		return rows.Err()
	})
	if err := k.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("loading keys: %w", err)
	}
	return found, nil
}

// unwrapped makes a key of a row; one without a wrapped key is a tombstone.
func (k *Keyring) unwrapped(ref Ref, wrapped []byte, master *string) (*Key, error) {
	if master == nil {
		return &Key{ref: ref}, nil
	}
	key, err := k.masters.unwrap(wrapped, *master, ref.associated(nil))
	if err != nil {
		return nil, err
	}
	return newKey(ref, key)
}

// New makes a key for a subject that has none. It opens what it seals from now on, and is
// lost unless Keep puts it on disk.
func (k *Keyring) New(ref Ref) (*Key, error) {
	fresh := randomBytes()
	key, err := newKey(ref, fresh)
	if err != nil {
		return nil, err
	}
	key.wrapped, err = k.masters.wrap(fresh, ref.associated(nil))
	key.master = k.masters.current.id
	return key, err
}

// Token stands for the name of a hash in tags. It is random.
type Token struct {
	Org  string
	Hash []byte
	// ID is zero when there is none yet.
	ID uuid.UUID
	// New says that it is not on disk yet.
	New bool
}

// NewToken makes the token of a name that has none. Keep puts it on disk.
func NewToken(org string, hash []byte) Token {
	return Token{Org: org, Hash: hash, ID: uuid.New(), New: true} // fails only where crypto/rand does, which ends the process
}

// Keep gives the statement that puts new keys and tokens on disk. It belongs behind the
// append of the events that use them, in one transaction, so that it runs under the log's
// lock and nothing is there without the other: it does nothing where nothing was appended.
// It fails (Taken) when there is one already.
func Keep(keys []*Key, tokens []Token) func(*pgx.Batch) {
	var (
		orgs, subjects, masters, tokenOrgs []string
		wrapped, hashes                    [][]byte
		ids                                [][16]byte
	)
	for _, key := range keys {
		orgs, subjects = append(orgs, key.ref.Org), append(subjects, key.ref.Subject)
		wrapped, masters = append(wrapped, key.wrapped), append(masters, key.master)
	}
	for _, token := range tokens {
		tokenOrgs, hashes, ids = append(tokenOrgs, token.Org), append(hashes, token.Hash), append(ids, token.ID)
	}
	return func(batch *pgx.Batch) {
		batch.Queue(`SELECT hub_keys.keep(coalesce($1, '{}'::text[]), coalesce($2, '{}'::text[]), coalesce($3, '{}'::bytea[]), coalesce($4, '{}'::text[]),
			coalesce($5, '{}'::text[]), coalesce($6, '{}'::bytea[]), coalesce($7, '{}'::uuid[]))`,
			orgs, subjects, wrapped, masters, tokenOrgs, hashes, ids)
	}
}

// Taken reports that what Keep was to keep is there already, made by another. Nothing of
// its transaction was done.
func Taken(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "HK001"
}

// Tokens gives what is wanted with the tokens that are there.
func (k *Keyring) Tokens(ctx context.Context, wanted []Token) ([]Token, error) {
	orgs, hashes := make([]string, len(wanted)), make([][]byte, len(wanted))
	for i, one := range wanted {
		orgs[i], hashes[i] = one.Org, one.Hash
	}
	rows, err := k.pool.Query(ctx, `SELECT n, token FROM hub_keys.find_tokens($1, $2)`, orgs, hashes)
	if err != nil {
		return nil, fmt.Errorf("finding tokens: %w", err)
	}
	found := slices.Clone(wanted)
	var n int
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&n, &id}, func() error {
		found[n-1].ID = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finding tokens: %w", err)
	}
	return found, nil
}

// Erase destroys the key of a subject and the tokens of its names, for ever: when it
// returns they are gone from the database, and from this process. Other processes may
// open values for cacheTime more.
func (k *Keyring) Erase(ctx context.Context, ref Ref, tokens []uuid.UUID) error {
	if _, err := k.pool.Exec(ctx, `SELECT hub_keys.erase($1, $2, coalesce($3, '{}'::uuid[]))`, ref.Org, ref.Subject, tokens); err != nil {
		return fmt.Errorf("erasing a key: %w", err)
	}
	k.cache.mu.Lock()
	defer k.cache.mu.Unlock()
	k.put(&Key{ref: ref})
	return nil
}

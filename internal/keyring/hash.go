package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/jackc/pgx/v5"
)

// hashSecret names the secret of an organisation that its keyed hashes are made with. It
// is random and not derived, so that it outlives every SECRET_KEY.
const hashSecret = "hashes"

// Hasher makes the keyed hashes of one organisation: equal for equal values, and of no use
// to who has not the secret. It is safe for concurrent use.
type Hasher struct {
	// states are *hashing.
	states sync.Pool
}

// hashedBytes is how long a text may be whose memory is used again.
const hashedBytes = 256

// hashing is a hash function that knows the secret already, and memory for what is hashed.
type hashing struct {
	mac  hash.Hash
	text []byte
}

func newHasher(secret []byte) *Hasher {
	return &Hasher{states: sync.Pool{New: func() any { return &hashing{mac: hmac.New(sha256.New, secret)} }}}
}

// Hash is over the parts, each behind its length: what kind of hash it is, then what is
// hashed.
func (h *Hasher) Hash(parts ...string) []byte {
	state := h.states.Get().(*hashing)
	text := state.text[:0]
	for _, part := range parts {
		text = appendPart(text, part)
	}
	state.mac.Reset()
	_, _ = state.mac.Write(text) // a hash takes everything
	sum := state.mac.Sum(nil)
	clear(text) // it is a value in clear
	if cap(text) <= hashedBytes {
		state.text = text
	}
	h.states.Put(state)
	return sum
}

// Hasher is that of an organisation, which gets its secret when it is first asked for. A
// ReadOnly keyring gives nil while there is none: then nothing was ever hashed.
func (k *Keyring) Hasher(ctx context.Context, org string) (*Hasher, error) {
	k.cache.mu.Lock()
	hasher := k.cache.hashers[org]
	k.cache.mu.Unlock()
	if hasher != nil {
		return hasher, nil
	}
	secret, err := k.secret(ctx, org)
	if err != nil || secret == nil {
		return nil, err
	}
	hasher = newHasher(secret)
	k.cache.mu.Lock()
	defer k.cache.mu.Unlock()
	if len(k.cache.hashers) >= maxHashers {
		clear(k.cache.hashers)
	}
	k.cache.hashers[org] = hasher
	return hasher, nil
}

func (k *Keyring) secret(ctx context.Context, org string) ([]byte, error) {
	var wrapped []byte
	var by string
	boundTo := secretAssociated(org, hashSecret)
	if k.own {
		batch := &pgx.Batch{}
		batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
		batch.Queue(`SELECT wrapped, master FROM hub_keys.find_own_secret($1)`, hashSecret).QueryRow(func(row pgx.Row) error {
			return row.Scan(&wrapped, &by)
		})
		if err := k.pool.SendBatch(ctx, batch).Close(); errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("loading a secret: %w", err)
		}
		return k.masters.unwrap(wrapped, by, boundTo)
	}
	offered, err := k.masters.wrap(randomBytes(), boundTo)
	if err != nil {
		return nil, err
	}
	err = k.pool.QueryRow(ctx, `SELECT wrapped, master FROM hub_keys.ensure_secret($1, $2, $3, $4)`,
		org, hashSecret, offered, k.masters.current.id).Scan(&wrapped, &by)
	if err != nil {
		return nil, fmt.Errorf("loading a secret: %w", err)
	}
	return k.masters.unwrap(wrapped, by, boundTo)
}

// secretAssociated differs from that of every key: no subject's has a further part.
func secretAssociated(org, name string) []byte {
	return Ref{Org: org}.associated(nil, "secret", name)
}

package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// hashSecret names the secret of an organisation that its keyed hashes are made with. It
// is random and not derived, so that it outlives every SECRET_KEY.
const hashSecret = "hashes"

// Hasher makes the keyed hashes of one organisation: equal for equal values, and of no use
// to who has not the secret.
type Hasher struct{ secret []byte }

// Hash is over the parts, each behind its length: what kind of hash it is, then what is
// hashed.
func (h *Hasher) Hash(parts ...string) []byte {
	mac := hmac.New(sha256.New, h.secret)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // parts are of an event at most
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// Hasher is that of an organisation, which gets its secret when it is first asked for. A
// ReadOnly keyring gives nil while there is none: then nothing was ever hashed.
func (k *Keyring) Hasher(ctx context.Context, org string) (*Hasher, error) {
	k.mu.Lock()
	hasher := k.hashers[org]
	k.mu.Unlock()
	if hasher != nil {
		return hasher, nil
	}
	secret, err := k.secret(ctx, org)
	if err != nil || secret == nil {
		return nil, err
	}
	hasher = &Hasher{secret: secret}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.hashers) >= maxHashers {
		clear(k.hashers)
	}
	k.hashers[org] = hasher
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
		return k.masters.unwrapSecret(wrapped, by, boundTo)
	}
	fresh := make([]byte, sha256.Size)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the process instead
	offered, err := k.masters.current.aead.Encrypt(fresh, boundTo)
	if err != nil {
		return nil, fmt.Errorf("wrapping a secret: %w", err)
	}
	err = k.pool.QueryRow(ctx, `SELECT wrapped, master FROM hub_keys.ensure_secret($1, $2, $3, $4)`,
		org, hashSecret, offered, k.masters.current.id).Scan(&wrapped, &by)
	if err != nil {
		return nil, fmt.Errorf("loading a secret: %w", err)
	}
	return k.masters.unwrapSecret(wrapped, by, boundTo)
}

func (m *Masters) unwrapSecret(wrapped []byte, by string, boundTo []byte) ([]byte, error) {
	one, known := m.known[by]
	if !known {
		return nil, ErrOtherMaster
	}
	secret, err := one.aead.Decrypt(wrapped, boundTo)
	if err != nil {
		return nil, fmt.Errorf("unwrapping a secret: %w", err)
	}
	return secret, nil
}

// secretAssociated differs from that of every key: no subject's has a further part.
func secretAssociated(org, name string) []byte {
	return Ref{Org: org}.associated([]byte("secret"), []byte(name))
}

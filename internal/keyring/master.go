package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrOtherMaster means that a key was wrapped by a master key that this process lacks.
var ErrOtherMaster = errors.New("keys are wrapped by a SECRET_KEY that this process does not have: set SECRET_KEY to it, or SECRET_KEY_PREVIOUS while keys are rotated")

// Masters are the master keys: the one that wraps, and those that may have wrapped.
type Masters struct {
	current *master
	known   map[string]*master
}

type master struct {
	// id is a fingerprint, which says nothing about the key.
	id   string
	aead tink.AEAD
}

// NewMasters makes master keys of 32 bytes each, as config.DeriveKey gives them.
func NewMasters(current []byte, others ...[]byte) (*Masters, error) {
	m := &Masters{known: make(map[string]*master)}
	for i, key := range append([][]byte{current}, others...) {
		primitive, err := subtle.NewAESGCM(key)
		if err != nil {
			return nil, fmt.Errorf("preparing a master key: %w", err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("hub-backend master key id"))
		one := &master{id: hex.EncodeToString(mac.Sum(nil)[:8]), aead: primitive}
		m.known[one.id] = one
		if i == 0 {
			m.current = one
		}
	}
	return m, nil
}

// Format keeps the keys out of whatever is printed.
func (m *Masters) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

// wrap gives the bytes of a key or a secret that only the current master opens, and only as
// that of what it is bound to.
func (m *Masters) wrap(key, boundTo []byte) ([]byte, error) {
	wrapped, err := m.current.aead.Encrypt(key, boundTo)
	if err != nil {
		return nil, fmt.Errorf("wrapping a key: %w", err)
	}
	return wrapped, nil
}

// unwrap reverses wrap. Error: ErrOtherMaster.
func (m *Masters) unwrap(wrapped []byte, by string, boundTo []byte) ([]byte, error) {
	one, known := m.known[by]
	if !known {
		return nil, ErrOtherMaster
	}
	key, err := one.aead.Decrypt(wrapped, boundTo)
	if err != nil {
		return nil, fmt.Errorf("unwrapping a key: %w", err)
	}
	return key, nil
}

// rewrap wraps anew what a master has wrapped. Error: ErrOtherMaster.
func (m *Masters) rewrap(wrapped []byte, by string, boundTo []byte) ([]byte, error) {
	key, err := m.unwrap(wrapped, by, boundTo)
	if err != nil {
		return nil, err
	}
	return m.wrap(key, boundTo)
}

// querier is what a pool and a connection have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// check makes sure that all keys there are can be unwrapped. Error: ErrOtherMaster.
func (m *Masters) check(ctx context.Context, db querier) error {
	var used []string
	if err := db.QueryRow(ctx, `SELECT ARRAY(SELECT hub_keys.find_masters())`).Scan(&used); err != nil {
		return fmt.Errorf("reading which master keys are in use: %w", err)
	}
	for _, id := range used {
		if m.known[id] == nil {
			return ErrOtherMaster
		}
	}
	return nil
}

// Check makes sure that this process can unwrap all keys there are. Error: ErrOtherMaster.
func (k *Keyring) Check(ctx context.Context) error { return k.masters.check(ctx, k.pool) }

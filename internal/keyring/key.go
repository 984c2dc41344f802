package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/reactdjango-hub/backend/domain"
)

// ErrMoved means that a value cannot be opened by the key where it is: it was changed, or
// sealed in another place, for another subject or by another key.
var ErrMoved = errors.New("a sealed value does not belong where it is")

// keyBytes is the size of a key: AES-256-GCM.
const keyBytes = 32

// Key is the key of one subject, unwrapped. The zero aead is that of an erased one.
type Key struct {
	ref  Ref
	aead tink.AEAD
	// wrapped and master are of a key that is not on disk yet.
	wrapped []byte
	master  string
}

func randomBytes() []byte {
	fresh := make([]byte, keyBytes)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the process instead
	return fresh
}

func newKey(ref Ref, key []byte) (*Key, error) {
	primitive, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("preparing a key: %w", err)
	}
	return &Key{ref: ref, aead: primitive}, nil
}

// Format keeps the key out of whatever is printed.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

// Erased reports whether the key was destroyed.
func (k *Key) Erased() bool { return k.aead == nil }

// New reports whether the key is not on disk yet.
func (k *Key) New() bool { return k.wrapped != nil }

// Place is where in the log a value is: in which event, and where in its data, as a JSON
// pointer. A value opens in its place only.
type Place struct {
	Event   uuid.UUID
	Pointer string
}

// Seal gives the ciphertext of a value for its place, as text. It is sealed by each key in
// turn, the last one first, so that it is lost with any one of them, and opens only by the
// same keys in the same order. Error: domain.ErrErased.
func Seal(at Place, plain []byte, keys ...*Key) (string, error) {
	if err := usable(keys); err != nil {
		return "", err
	}
	bound := bounds.Get().(*[]byte)
	defer bounds.Put(bound)
	for _, key := range slices.Backward(keys) {
		*bound = key.boundTo((*bound)[:0], at, keys)
		sealed, err := key.aead.Encrypt(plain, *bound)
		if err != nil {
			return "", fmt.Errorf("sealing a value: %w", err)
		}
		plain = sealed
	}
	return base64.RawStdEncoding.EncodeToString(plain), nil
}

// Open gives the value that Seal has sealed. Errors: domain.ErrErased, ErrMoved.
func Open(at Place, text string, keys ...*Key) ([]byte, error) {
	if err := usable(keys); err != nil {
		return nil, err
	}
	value, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrMoved
	}
	bound := bounds.Get().(*[]byte)
	defer bounds.Put(bound)
	for _, key := range keys {
		*bound = key.boundTo((*bound)[:0], at, keys)
		if value, err = key.aead.Decrypt(value, *bound); err != nil {
			return nil, ErrMoved
		}
	}
	return value, nil
}

// usable holds keys to what can seal a value: of different subjects, and none erased.
func usable(keys []*Key) error {
	if len(keys) == 0 || len(keys) > domain.MaxSealingSubjects {
		return fmt.Errorf("a value is sealed for 1 to %d subjects", domain.MaxSealingSubjects)
	}
	for i, key := range keys {
		if key.Erased() {
			return domain.ErrErased
		}
		if slices.ContainsFunc(keys[:i], func(other *Key) bool { return other.ref == key.ref }) {
			return errors.New("a value is sealed twice for one subject")
		}
	}
	return nil
}

// bounds is memory for what values are bound to, which is no secret.
var bounds = sync.Pool{New: func() any { return new([]byte) }}

// boundTo adds what a layer of a value is bound to: its subject, the place and, where there
// are several, all whose keys seal the value, so that no layer can be taken off.
func (k *Key) boundTo(b []byte, at Place, keys []*Key) []byte {
	b = k.ref.associated(b, "value")
	b = appendPart(b, at.Event[:])
	b = appendPart(b, at.Pointer)
	if len(keys) > 1 {
		for _, key := range keys {
			b = appendPart(b, key.ref.Subject)
		}
	}
	return b
}

// associated adds what ciphertext is bound to: each part behind its length, so that no two
// places look alike.
func (r Ref) associated(b []byte, parts ...string) []byte {
	b = appendPart(b, "hub.sealed.1")
	b = appendPart(b, r.Org)
	b = appendPart(b, r.Subject)
	for _, part := range parts {
		b = appendPart(b, part)
	}
	return b
}

func appendPart[T string | []byte](b []byte, part T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // parts are of an event at most
	return append(b, part...)
}

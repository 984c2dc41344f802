package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrMoved means that a value cannot be opened by the key where it is: it was changed, or
// sealed in another place, for another subject or by another key.
var ErrMoved = errors.New("a sealed value does not belong where it is")

// Key is the key of one subject, unwrapped. The zero aead is that of an erased one.
type Key struct {
	ref  Ref
	aead tink.AEAD
	// wrapped and master are of a key that is not on disk yet.
	wrapped []byte
	master  string
}

func newHandle() (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return handle, nil
}

func newKey(ref Ref, handle *keyset.Handle) (*Key, error) {
	primitive, err := aead.New(handle)
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

// Seal gives the ciphertext of a value for its place, as text. Error: ErrErased.
func (k *Key) Seal(at Place, plain []byte) (string, error) {
	if k.Erased() {
		return "", ErrErased
	}
	sealed, err := k.aead.Encrypt(plain, k.ref.associated([]byte("value"), at.Event[:], []byte(at.Pointer)))
	if err != nil {
		return "", fmt.Errorf("sealing a value: %w", err)
	}
	return base64.RawStdEncoding.EncodeToString(sealed), nil
}

// Open gives the value. Errors: ErrErased, ErrMoved.
func (k *Key) Open(at Place, text string) ([]byte, error) {
	if k.Erased() {
		return nil, ErrErased
	}
	sealed, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrMoved
	}
	plain, err := k.aead.Decrypt(sealed, k.ref.associated([]byte("value"), at.Event[:], []byte(at.Pointer)))
	if err != nil {
		return nil, ErrMoved
	}
	return plain, nil
}

// associated is what ciphertext is bound to: each part behind its length, so that no two
// places look alike.
func (r Ref) associated(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, part := range append([][]byte{[]byte("hub.sealed.1"), []byte(r.Org), []byte(r.Subject)}, parts...) {
		_, _ = b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // names and pointers are short
		_, _ = b.Write(part)
	}
	return b.Bytes()
}

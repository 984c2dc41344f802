package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
)

var somewhere = Place{Event: uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a"), Pointer: "/attributes/email"}

func testMasters(tb testing.TB) *Masters {
	tb.Helper()
	masters, err := NewMasters(bytes.Repeat([]byte{1}, keyBytes))
	require.NoError(tb, err)
	return masters
}

// What is in a log must open for ever, so this is spelt out: what values, keys and secrets
// are bound to, and that what is sealed is a nonce and AES-256-GCM.
func TestFormatOfCiphertext(t *testing.T) {
	t.Parallel()
	framed := func(parts ...string) string {
		var b strings.Builder
		for _, part := range parts {
			b.WriteString("\x00\x00\x00" + string(rune(len(part))) + part)
		}
		return b.String()
	}
	ana, ben := Ref{"acme", "ana"}, Ref{"acme", "ben"}
	event := string(somewhere.Event[:])
	assert.Equal(t, framed("hub.sealed.1", "acme", "ana"), string(ana.associated(nil)))
	assert.Equal(t, framed("hub.sealed.1", "acme", "", "secret", "hashes"), string(secretAssociated("acme", hashSecret)))
	one, other := &Key{ref: ana}, &Key{ref: ben}
	assert.Equal(t, framed("hub.sealed.1", "acme", "ana", "value", event, "/attributes/email"), string(one.boundTo(nil, somewhere, []*Key{one})))
	assert.Equal(t, framed("hub.sealed.1", "acme", "ben", "value", event, "/attributes/email", "ana", "ben"), string(other.boundTo(nil, somewhere, []*Key{one, other})))

	key, err := New(Options{Masters: testMasters(t)}).New(ana)
	require.NoError(t, err)
	text, err := Seal(somewhere, []byte(`"a"`), key)
	require.NoError(t, err)
	raw, err := testMasters(t).unwrap(key.wrapped, key.master, ana.associated(nil))
	require.NoError(t, err)
	require.Len(t, raw, keyBytes)
	block, err := aes.NewCipher(raw)
	require.NoError(t, err)
	plainly, err := cipher.NewGCM(block)
	require.NoError(t, err)
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	require.NoError(t, err)
	opened, err := plainly.Open(nil, sealed[:plainly.NonceSize()], sealed[plainly.NonceSize():], key.boundTo(nil, somewhere, []*Key{key}))
	require.NoError(t, err)
	assert.Equal(t, `"a"`, string(opened))
}

// Hashes are the same from whichever state they are made.
func TestHashesByManyAtOnce(t *testing.T) {
	t.Parallel()
	hasher := newHasher([]byte("secret"))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 200 {
				value := fmt.Sprint(i, "/", j)
				mac := hmac.New(sha256.New, []byte("secret"))
				mac.Write(appendPart(appendPart(nil, "attribute"), value))
				assert.Equal(t, mac.Sum(nil), hasher.Hash("attribute", value))
			}
		})
	}
	wait.Wait()
}

func BenchmarkNewKey(b *testing.B) {
	b.ReportAllocs()
	keys := New(Options{Masters: testMasters(b)})
	for b.Loop() {
		if _, err := keys.New(Ref{"acme", "ana"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnwrap(b *testing.B) {
	b.ReportAllocs()
	keys := New(Options{Masters: testMasters(b)})
	key, err := keys.New(Ref{"acme", "ana"})
	require.NoError(b, err)
	for b.Loop() {
		if _, err := keys.unwrapped(key.ref, key.wrapped, &key.master); err != nil {
			b.Fatal(err)
		}
	}
}

// One value is sealed, and opened again.
func BenchmarkSeal(b *testing.B) {
	b.ReportAllocs()
	key, secret := benchedKey(b)
	for b.Loop() {
		if _, err := key.Seal("acme", somewhere, secret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	b.ReportAllocs()
	key, secret := benchedKey(b)
	sealed, err := key.Seal("acme", somewhere, secret)
	require.NoError(b, err)
	for b.Loop() {
		if _, err := key.Open("acme", sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func benchedKey(b *testing.B) (Keys, domain.Secret) {
	b.Helper()
	ref := Ref{"acme", "0190aaaa-0000-7000-8000-00000000000b"}
	key, err := New(Options{Masters: testMasters(b)}).New(ref)
	require.NoError(b, err)
	return Keys{ref: key}, domain.NewSecret([]byte(`"ana@example.org"`), true, ref.Subject)
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	hasher := newHasher(bytes.Repeat([]byte{1}, sha256.Size))
	for b.Loop() {
		hasher.Hash("attribute", "email", "text ana@example.org")
	}
}

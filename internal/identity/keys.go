package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

const (
	// maxKeys is far above what an issuer publishes while it rotates.
	maxKeys = 64
	// RSA below 2,048 bits can be broken; above 8,192 a signature costs milliseconds.
	minRSABits, maxRSABits = 2048, 8192
)

// algorithmNames are the accepted values of `alg`. A token's must also be the one
// of its key, so a public key can never serve as the secret of an HMAC.
var algorithmNames = []string{"EdDSA", "ES256", "RS256"}

// publicKey is one key of the issuer with the only algorithm it is used for.
type publicKey struct {
	id        string
	algorithm jwa.SignatureAlgorithm
	public    publicKeyMaterial
}

// publicKeyMaterial is what the three kinds of key in crypto have in common.
type publicKeyMaterial interface {
	Equal(other crypto.PublicKey) bool
}

// keySet is what one answer of the issuer held; it is never changed. Tokens that
// its keys have verified live in verified, which the next set takes over unless a
// key is gone: then tokens start anew.
type keySet struct {
	keys     []publicKey
	loadedAt time.Time
	verified *tokenCache
}

// find returns the key that a token names. A token without a key id is accepted
// only if there is no choice.
func (s *keySet) find(h header) (publicKey, bool) {
	if h.KeyID == "" {
		if len(s.keys) == 1 && s.keys[0].algorithm.String() == h.Algorithm {
			return s.keys[0], true
		}
		return publicKey{}, false
	}
	for _, key := range s.keys {
		if key.id == h.KeyID && key.algorithm.String() == h.Algorithm {
			return key, true
		}
	}
	return publicKey{}, false
}

// lacks reports whether a key of the older set is missing or another one now.
func (s *keySet) lacks(older *keySet) bool {
	for _, old := range older.keys {
		now, found := s.find(header{KeyID: old.id, Algorithm: old.algorithm.String()})
		if !found || !now.public.Equal(old.public) {
			return true
		}
	}
	return false
}

// parseKeys reads a JWK set (RFC 7517, §5). A key that cannot be used here is left
// out, as the RFC asks, so that one strange key does not stop the others.
func parseKeys(document []byte, log *slog.Logger) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("the issuer's key set has no member keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the issuer publishes %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []publicKey
	for i, raw := range set.Keys {
		key, err := parseKey(raw)
		if err != nil {
			log.Debug("a key of the issuer is not used", "index", i, "reason", err)
			continue
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(raw []byte) (publicKey, error) {
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return publicKey{}, err
	}
	if err := key.Validate(); err != nil {
		return publicKey{}, err
	}
	if private, err := jwk.IsPrivateKey(key); err != nil || private {
		// A published private key is everybody's: nothing signed with it proves a thing.
		return publicKey{}, errors.New("not a public key")
	}
	if use, set := key.KeyUsage(); set && use != "sig" {
		return publicKey{}, errors.New("not for signatures")
	}
	var material any
	if err := jwk.Export(key, &material); err != nil {
		return publicKey{}, err
	}
	algorithm, public, err := algorithmOf(material)
	if err != nil {
		return publicKey{}, err
	}
	if declared, set := key.Algorithm(); set && declared.String() != algorithm.String() {
		return publicKey{}, errors.New("for an algorithm that is not accepted")
	}
	id, _ := key.KeyID()
	return publicKey{id: id, algorithm: algorithm, public: public}, nil
}

// algorithmOf is the one table from a kind of key to its algorithm.
func algorithmOf(material any) (jwa.SignatureAlgorithm, publicKeyMaterial, error) {
	switch public := material.(type) {
	case ed25519.PublicKey:
		return jwa.EdDSA(), public, nil
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return jwa.SignatureAlgorithm{}, nil, errors.New("a curve that is not accepted")
		}
		return jwa.ES256(), public, nil
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return jwa.SignatureAlgorithm{}, nil, fmt.Errorf("an RSA key of %d bits", bits)
		}
		return jwa.RS256(), public, nil
	}
	return jwa.SignatureAlgorithm{}, nil, errors.New("a kind of key that is not accepted")
}

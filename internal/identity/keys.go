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
	"slices"
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

// algorithmNames are the accepted values of `alg`, asymmetric all of them. A token's
// must also be the one of its key, so a public key can never serve as the secret of an
// HMAC.
var algorithmNames = []string{"EdDSA", "Ed25519", "ES256", "PS256", "RS256"}

// algorithms has the algorithm that each name stands for. Ed25519 is EdDSA on the one
// curve that is accepted here, by its newer name (RFC 9864, §2.2).
var algorithms = map[string]struct{ named, is jwa.SignatureAlgorithm }{
	"EdDSA":   {jwa.EdDSA(), jwa.EdDSA()},
	"Ed25519": {jwa.EdDSAEd25519(), jwa.EdDSA()},
	"ES256":   {jwa.ES256(), jwa.ES256()},
	"PS256":   {jwa.PS256(), jwa.PS256()},
	"RS256":   {jwa.RS256(), jwa.RS256()},
}

// publicKey is one key of the issuer with the only algorithm it is used for
// (RFC 8725, §3.1).
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
	if h.KeyID == "" && len(s.keys) != 1 {
		return publicKey{}, false
	}
	wanted := algorithms[h.Algorithm].is
	for _, key := range s.keys {
		if (h.KeyID == "" || h.KeyID == key.id) && key.algorithm == wanted {
			return key, true
		}
	}
	return publicKey{}, false
}

// names reports whether there is a key of this id, for whatever algorithm.
func (s *keySet) names(id string) bool {
	return id != "" && slices.ContainsFunc(s.keys, func(key publicKey) bool { return key.id == id })
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
	if !signs(key) {
		return publicKey{}, errors.New("not for signatures")
	}
	var material any
	if err := jwk.Export(key, &material); err != nil {
		return publicKey{}, err
	}
	declared, _ := key.Algorithm()
	algorithm, public, err := algorithmOf(material, declared)
	if err != nil {
		return publicKey{}, err
	}
	id, _ := key.KeyID()
	return publicKey{id: id, algorithm: algorithm, public: public}, nil
}

// signs reports whether a key is for signatures (RFC 7517, §4.2 and §4.3): it is unless
// it says otherwise.
func signs(key jwk.Key) bool {
	use, hasUse := key.KeyUsage()
	operations, hasOperations := key.KeyOps()
	return (!hasUse || use == "sig") && (!hasOperations || slices.Contains(operations, jwk.KeyOpVerify))
}

// algorithmOf is the one table from a kind of key to its algorithm. An RSA key that does
// not say what it is for is for RS256. declared is empty when the key says nothing.
func algorithmOf(material any, declared jwa.KeyAlgorithm) (jwa.SignatureAlgorithm, publicKeyMaterial, error) {
	var of jwa.SignatureAlgorithm
	var public publicKeyMaterial
	switch key := material.(type) {
	case ed25519.PublicKey:
		of, public = jwa.EdDSA(), key
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return of, nil, errors.New("a curve that is not accepted")
		}
		of, public = jwa.ES256(), key
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return of, nil, fmt.Errorf("an RSA key of %d bits", bits)
		}
		of, public = jwa.RS256(), key
		if declared != nil && declared.String() == jwa.PS256().String() {
			of = jwa.PS256()
		}
	default:
		return of, nil, errors.New("a kind of key that is not accepted")
	}
	if declared != nil && algorithms[declared.String()].is != of {
		return of, nil, errors.New("for an algorithm that is not accepted")
	}
	return of, public, nil
}

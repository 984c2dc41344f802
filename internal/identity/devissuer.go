package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/reactdjango-hub/backend/internal/secretfile"
)

// devAudience is what the development issuer's tokens are for.
const devAudience = "hub-backend"

// DevIssuer gives tokens to whoever asks, for development: it stands where the
// identity service will be and speaks its protocol. Never let it be reached from
// outside the machine or the test network.
type DevIssuer struct {
	issuer string
	path   string
	now    func() time.Time

	mu sync.RWMutex
	// keys are the published ones, newest first; the first one signs.
	keys []jwk.Key
}

// NewDevIssuer opens the issuer whose Ed25519 key is kept in keyDir, and makes the
// key when there is none. issuerURL is where Handler will be reached.
func NewDevIssuer(keyDir, issuerURL string) (*DevIssuer, error) {
	d := &DevIssuer{
		issuer: strings.TrimRight(issuerURL, "/"),
		path:   filepath.Join(keyDir, "development_issuer.jwks"),
		now:    time.Now,
	}
	stored, err := secretfile.Ensure(d.path, func() ([]byte, error) {
		key, err := newDevKey()
		if err != nil {
			return nil, err
		}
		return encodeDevKeys([]jwk.Key{key})
	})
	if err != nil {
		return nil, fmt.Errorf("the development issuer's key: %w", err)
	}
	if d.keys, err = decodeDevKeys(stored); err != nil {
		return nil, fmt.Errorf("%s is damaged, delete it and tokens given out before are void: %w", d.path, err)
	}
	return d, nil
}

// Rotate makes a new signing key and withdraws the one before the last: tokens
// signed before one rotation are still good, before two no longer.
func (d *DevIssuer) Rotate() error {
	key, err := newDevKey()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := []jwk.Key{key, d.keys[0]}
	stored, err := encodeDevKeys(keys)
	if err != nil {
		return err
	}
	if err := secretfile.Replace(d.path, stored); err != nil {
		return err
	}
	d.keys = keys
	return nil
}

// Token signs a token for a request that was found valid.
func (d *DevIssuer) token(r TokenRequest) (string, error) {
	now := d.now()
	methods := []string{"pwd"}
	if r.MFA {
		methods = append(methods, "mfa")
	}
	payload, err := json.Marshal(devClaims{
		Issuer: d.issuer, Audience: devAudience, Subject: r.Sub, ID: uuid.NewString(),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), LoggedInAt: now.Unix(), Expires: now.Unix() + r.TTLSeconds,
		Org: r.Org, Person: r.Person, Name: r.Name, Email: r.Email,
		Roles: r.Roles, Groups: r.Groups, Methods: methods,
	})
	if err != nil {
		return "", err
	}
	d.mu.RLock()
	key := d.keys[0]
	d.mu.RUnlock()
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, "at+jwt"); err != nil {
		return "", err
	}
	signed, err := jws.Sign(payload, jws.WithKey(jwa.EdDSA(), key, jws.WithProtectedHeaders(headers)))
	return string(signed), err
}

// devClaims are the claims of an access token (RFC 9068, §2.2) and the product's.
type devClaims struct {
	Issuer     string   `json:"iss"`
	Audience   string   `json:"aud"`
	Subject    string   `json:"sub"`
	ID         string   `json:"jti"`
	IssuedAt   int64    `json:"iat"`
	NotBefore  int64    `json:"nbf"`
	LoggedInAt int64    `json:"auth_time"`
	Expires    int64    `json:"exp"`
	Org        string   `json:"org_id"`
	Person     string   `json:"person_id,omitempty"`
	Name       string   `json:"name,omitempty"`
	Email      string   `json:"email,omitempty"`
	Roles      []string `json:"roles"`
	Groups     []string `json:"groups,omitempty"`
	Methods    []string `json:"amr"`
}

// published is the issuer's JWK set: public keys only.
func (d *DevIssuer) published() ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	set := jwk.NewSet()
	for _, key := range d.keys {
		public, err := key.PublicKey()
		if err != nil {
			return nil, err
		}
		if err := set.AddKey(public); err != nil {
			return nil, err
		}
	}
	return json.Marshal(set)
}

// newDevKey makes a signing key whose id is its thumbprint (RFC 7638).
func newDevKey() (jwk.Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := jwk.Import(private)
	if err != nil {
		return nil, err
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(
		key.Set(jwk.KeyIDKey, base64.RawURLEncoding.EncodeToString(thumbprint)),
		key.Set(jwk.AlgorithmKey, jwa.EdDSA()),
		key.Set(jwk.KeyUsageKey, "sig"),
	)
}

func encodeDevKeys(keys []jwk.Key) ([]byte, error) {
	set := jwk.NewSet()
	for _, key := range keys {
		if err := set.AddKey(key); err != nil {
			return nil, err
		}
	}
	return json.Marshal(set)
}

func decodeDevKeys(stored []byte) ([]jwk.Key, error) {
	set, err := jwk.Parse(stored)
	if err != nil {
		return nil, errors.New("it is not a JWK set") // jwx's text may quote the key
	}
	var keys []jwk.Key
	for i := range set.Len() {
		key, _ := set.Key(i)
		var private ed25519.PrivateKey
		if err := jwk.Export(key, &private); err != nil {
			return nil, errors.New("it holds another key than Ed25519 private ones")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fs.ErrNotExist
	}
	return keys, nil
}

package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// start is when all tests begin.
var start = time.Date(2030, time.March, 1, 12, 0, 0, 0, time.UTC)

// clock is a time that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is an identity service under a test's control, over real HTTP.
type issuer struct {
	server *httptest.Server

	mu        sync.Mutex
	published []any // JWKs, as maps or jwk.Key
	discovery map[string]any
	status    int // of every answer
	documents int // of the discovery document
	fetches   int // of the key set
	// block holds an answer back, which is that of when it was asked for; asked is closed
	// when it is.
	block, asked chan struct{}
}

func newIssuer(t testing.TB, keys ...signer) *issuer {
	t.Helper()
	i := &issuer{status: http.StatusOK}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.documents++
		document := map[string]any{"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys"}
		maps.Copy(document, i.discovery)
		w.WriteHeader(i.status)
		_ = json.NewEncoder(w).Encode(document)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		i.fetches++
		status, keys, block := i.status, i.published, i.block
		if i.asked != nil {
			close(i.asked)
			i.asked = nil
		}
		i.mu.Unlock()
		if block != nil {
			<-block
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	i.publish(keys...)
	return i
}

func (i *issuer) publish(keys ...signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = []any{}
	for _, key := range keys {
		i.published = append(i.published, key.jwk)
	}
}

func (i *issuer) change(f func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(i)
}

func (i *issuer) fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) discovered() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.documents
}

func (i *issuer) verifier(now func() time.Time) *identity.Verifier {
	return identity.NewVerifier(identity.Options{URL: i.server.URL + "/", Audience: "hub-backend", Now: now})
}

// claims are those of a good token; changes overwrite, nil removes.
func (i *issuer) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.server.URL, "aud": "hub-backend", "sub": "ana", "org_id": "acme",
		"iat": start.Unix(), "exp": start.Add(time.Hour).Unix(), "roles": []string{"editor"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// signer is a key pair of an issuer.
type signer struct {
	id        string
	algorithm jwa.SignatureAlgorithm
	private   any
	jwk       jwk.Key
}

func newSigner(t testing.TB, id string, algorithm jwa.SignatureAlgorithm) signer {
	t.Helper()
	var private any
	var err error
	switch algorithm {
	case jwa.EdDSA(), jwa.EdDSAEd25519():
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jwa.ES256():
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwa.ES384():
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	must(t, err)
	return signerOf(t, id, algorithm, private)
}

func signerOf(t testing.TB, id string, algorithm jwa.SignatureAlgorithm, private any) signer {
	t.Helper()
	public, err := jwk.PublicKeyOf(private)
	must(t, err)
	if id != "" {
		must(t, public.Set(jwk.KeyIDKey, id))
	}
	return signer{id: id, algorithm: algorithm, private: private, jwk: public}
}

// sign makes a token; header adds to or replaces what is in the usual one.
func (s signer) sign(t testing.TB, claims, header map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	return s.signBytes(t, payload, header)
}

func (s signer) signBytes(t testing.TB, payload []byte, header map[string]any) string {
	t.Helper()
	headers := jws.NewHeaders()
	if s.id != "" {
		must(t, headers.Set("kid", s.id))
	}
	for name, value := range header {
		must(t, headers.Set(name, value))
	}
	token, err := jws.Sign(payload, jws.WithKey(s.algorithm, s.private, jws.WithProtectedHeaders(headers)))
	must(t, err)
	return string(token)
}

// signRaw signs with Ed25519 under a header written out by hand, for what a
// library refuses to write.
func signRaw(t testing.TB, s signer, header string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	return signBoth(t, s, header, string(payload))
}

// signHMAC signs with a secret, as an attacker who knows a public key would.
func signHMAC(t testing.TB, secret []byte, header string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	input := encode([]byte(header)) + "." + encode(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func accept(t *testing.T, v *identity.Verifier, token string) identity.Caller {
	t.Helper()
	caller, err := v.Verify(context.Background(), token)
	if err != nil {
		t.Fatalf("a good token is refused: %v", err)
	}
	return caller
}

func refuse(t *testing.T, v *identity.Verifier, token string, kind problem.Kind, code string) *problem.Problem {
	t.Helper()
	caller, err := v.Verify(context.Background(), token)
	p := problem.Of(err)
	if p == nil || p.Kind != kind || p.Code != code {
		t.Fatalf("got %+v, %v, want %s", caller, err, code)
	}
	return p
}

func refuseToken(t *testing.T, v *identity.Verifier, token string) *problem.Problem {
	t.Helper()
	return refuse(t, v, token, problem.Unauthenticated, "invalid_token")
}

// signBoth signs with Ed25519 whatever header and payload are.
func signBoth(t testing.TB, s signer, header, payload string) string {
	t.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := s.private.(crypto.Signer).Sign(rand.Reader, []byte(input), crypto.Hash(0))
	must(t, err)
	return input + "." + encode(signature)
}

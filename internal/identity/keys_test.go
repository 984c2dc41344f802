package identity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestUnknownKeysCostOneFetch(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	accept(t, v, key.sign(t, i.claims(nil), nil))
	c.advance(10 * time.Second)

	stranger := newSigner(t, "", jwa.EdDSA())
	var group sync.WaitGroup
	for n := range 64 {
		token := stranger.sign(t, i.claims(nil), map[string]any{"kid": fmt.Sprintf("forged-%d", n)})
		group.Go(func() {
			if _, err := v.Verify(context.Background(), token); problem.Of(err) == nil || problem.Of(err).Code != "invalid_token" {
				t.Errorf("a forged token: %v", err)
			}
		})
	}
	group.Wait()
	if i.fetched() != 2 {
		t.Errorf("%d fetches for one set of keys and a flood", i.fetched())
	}
	c.advance(9 * time.Second)
	refuseToken(t, v, stranger.sign(t, i.claims(nil), map[string]any{"kid": "late"}))
	if i.fetched() != 2 {
		t.Error("another fetch within ten seconds")
	}
}

func TestManyTokensAtStartCostOneFetch(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	release := make(chan struct{})
	i.change(func(i *issuer) { i.block = release })
	v := i.verifier(newClock().Now)
	var group sync.WaitGroup
	for n := range 16 {
		token := key.sign(t, i.claims(map[string]any{"sub": fmt.Sprint("user-", n)}), nil)
		group.Go(func() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	group.Wait()
	if i.fetched() != 1 {
		t.Errorf("%d fetches", i.fetched())
	}
}

func TestARotatedKeyIsAccepted(t *testing.T) {
	t.Parallel()
	first, second, c := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.ES256()), newClock()
	i := newIssuer(t, first)
	v := i.verifier(c.Now)
	old := first.sign(t, i.claims(nil), nil)
	accept(t, v, old)

	i.publish(first, second)
	token := second.sign(t, i.claims(nil), nil)
	refuseToken(t, v, token) // the keys are a moment old
	c.advance(10 * time.Second)
	accept(t, v, token)
	accept(t, v, old)
	if i.fetched() != 2 {
		t.Errorf("%d fetches", i.fetched())
	}
}

func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	t.Parallel()
	first, second, c := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.EdDSA()), newClock()
	i := newIssuer(t, first)
	v := i.verifier(c.Now)
	token := first.sign(t, i.claims(nil), nil)
	accept(t, v, token)

	i.publish(second)
	c.advance(26 * time.Second)
	refuseToken(t, v, token) // although it was verified less than a minute ago
	accept(t, v, second.sign(t, i.claims(nil), nil))
}

func TestAKeyReplacedUnderItsIDIsForgotten(t *testing.T) {
	t.Parallel()
	first, second, c := newSigner(t, "same", jwa.EdDSA()), newSigner(t, "same", jwa.EdDSA()), newClock()
	i := newIssuer(t, first)
	v := i.verifier(c.Now)
	token := first.sign(t, i.claims(nil), nil)
	accept(t, v, token)
	i.publish(second)
	c.advance(26 * time.Second)
	refuseToken(t, v, token)
	accept(t, v, second.sign(t, i.claims(nil), nil))
}

func TestAllKeysWithdrawnMeansNoneIsGood(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	token := key.sign(t, i.claims(nil), nil)
	accept(t, v, token)
	i.publish()
	c.advance(26 * time.Second)
	refuseToken(t, v, token)
	if err := v.Probe(t.Context()); err == nil {
		t.Error("health does not show that there are no keys")
	}
}

func TestKeysAreRefreshedInTheBackground(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	token := key.sign(t, i.claims(nil), nil)
	accept(t, v, token)

	release := make(chan struct{})
	i.change(func(i *issuer) { i.block = release })
	c.advance(16 * time.Second)
	accept(t, v, token) // does not wait for the answer that is held back
	close(release)
	must(t, v.Probe(t.Context())) // waits for it
	if i.fetched() != 2 {
		t.Errorf("%d fetches", i.fetched())
	}
}

func TestAnOutageKeepsTheLastGoodKeys(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	accept(t, v, key.sign(t, i.claims(nil), nil))
	must(t, v.Probe(t.Context()))

	i.change(func(i *issuer) { i.status = http.StatusInternalServerError })
	for n := range 20 {
		c.advance(30 * time.Second)
		accept(t, v, key.sign(t, i.claims(map[string]any{"sub": fmt.Sprint("user-", n)}), nil))
		if err := v.Probe(t.Context()); err == nil || errors.Is(err, identity.ErrNoKeys) {
			t.Fatalf("in an outage with keys at hand health says %v", err)
		}
	}
	i.change(func(i *issuer) { i.status = http.StatusOK })
	c.advance(30 * time.Second)
	must(t, v.Probe(t.Context()))
}

func TestKeysDoNotServeForEver(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	claims := i.claims(map[string]any{"exp": start.Add(100 * time.Hour).Unix()})
	accept(t, v, key.sign(t, claims, nil))
	i.server.Close()
	c.advance(24 * time.Hour)
	accept(t, v, key.sign(t, claims, nil))
	c.advance(time.Second)
	refuse(t, v, key.sign(t, claims, nil), problem.Unavailable, "identity_unavailable")
	if err := v.Probe(t.Context()); !errors.Is(err, identity.ErrNoKeys) {
		t.Errorf("health says %v", err)
	}
}

func TestWithoutAnyKeysTheServiceIsUnavailable(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	for name, sabotage := range map[string]func(*issuer){
		"failing":           func(i *issuer) { i.status = http.StatusBadGateway },
		"redirecting":       func(i *issuer) { i.status = http.StatusFound },
		"another issuer":    func(i *issuer) { i.discovery = map[string]any{"issuer": "https://evil.example"} },
		"no issuer":         func(i *issuer) { i.discovery = map[string]any{"issuer": nil} },
		"no jwks_uri":       func(i *issuer) { i.discovery = map[string]any{"jwks_uri": ""} },
		"a file":            func(i *issuer) { i.discovery = map[string]any{"jwks_uri": "file:///etc/passwd"} },
		"a wrong type":      func(i *issuer) { i.discovery = map[string]any{"jwks_uri": 7} },
		"huge discovery":    func(i *issuer) { i.discovery = map[string]any{"x": strings.Repeat("x", 600<<10)} },
		"huge key set":      func(i *issuer) { i.published = []any{strings.Repeat("x", 600<<10)} },
		"too many keys":     func(i *issuer) { i.published = make([]any, 65) },
		"keys that are nil": func(i *issuer) { i.published = nil },
	} {
		i := newIssuer(t, key)
		i.change(sabotage)
		v := i.verifier(c.Now)
		p := refuse(t, v, key.sign(t, i.claims(nil), nil), problem.Unavailable, "identity_unavailable")
		if p.RetryAfter <= 0 {
			t.Errorf("%s: no Retry-After", name)
		}
		if err := v.Probe(t.Context()); !errors.Is(err, identity.ErrNoKeys) {
			t.Errorf("%s: health says %v", name, err)
		}
		refuseToken(t, v, "garbage") // needs no keys to be refused
	}
}

func TestTheIssuerMayStartLater(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	i.change(func(i *issuer) { i.status = http.StatusServiceUnavailable })
	v := i.verifier(c.Now)
	token := key.sign(t, i.claims(nil), nil)
	refuse(t, v, token, problem.Unavailable, "identity_unavailable")
	i.change(func(i *issuer) { i.status = http.StatusOK })
	refuse(t, v, token, problem.Unavailable, "identity_unavailable") // not asked again at once
	c.advance(time.Second)
	accept(t, v, token)
}

func TestACallerWhoLeavesDoesNotWait(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	release := make(chan struct{})
	defer close(release)
	i.change(func(i *issuer) { i.block = release })
	v := i.verifier(newClock().Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, key.sign(t, i.claims(nil), nil)); problem.Of(err) == nil || problem.Of(err).Code != "identity_unavailable" {
		t.Errorf("got %v", err)
	}
}

func TestTheIssuerMayWriteAnotherName(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	const name = "https://login.example/"
	i.change(func(i *issuer) { i.discovery = map[string]any{"issuer": name} })
	v := identity.NewVerifier(identity.Options{URL: i.server.URL, Issuer: name, Audience: "hub-backend", Now: newClock().Now})
	accept(t, v, key.sign(t, i.claims(map[string]any{"iss": name}), nil))
	refuseToken(t, v, key.sign(t, i.claims(nil), nil))
}

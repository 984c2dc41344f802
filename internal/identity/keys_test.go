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

// However many unknown keys tokens name, the issuer sees a burst of fetches and then one
// in ten seconds, and good tokens are verified meanwhile.
func TestAFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	accept(t, v, key.sign(t, i.claims(nil), nil))
	stranger := newSigner(t, "", jwa.EdDSA())
	flood := func(wave string) {
		var group sync.WaitGroup
		for n := range 64 {
			forged := stranger.sign(t, i.claims(nil), map[string]any{"kid": fmt.Sprint("forged-", wave, n)})
			good := key.sign(t, i.claims(map[string]any{"sub": fmt.Sprint(wave, n)}), nil)
			group.Go(func() {
				if _, err := v.Verify(context.Background(), forged); problem.Of(err) == nil || problem.Of(err).Code != "invalid_token" {
					t.Errorf("a forged token: %v", err)
				}
				if _, err := v.Verify(context.Background(), good); err != nil {
					t.Errorf("a good token: %v", err)
				}
			})
		}
		group.Wait()
	}
	// Requests that come together share a fetch, so that one flood may not use up all.
	for n := 0; i.fetched() < 1+5 && n < 100; n++ {
		flood(fmt.Sprint("first-", n, "-"))
	}
	if i.fetched() != 1+5 {
		t.Errorf("%d fetches for one set of keys and a flood", i.fetched())
	}
	c.advance(9 * time.Second)
	flood("second")
	if i.fetched() != 1+5 {
		t.Error("another fetch within ten seconds")
	}
	c.advance(time.Second)
	flood("third")
	if i.fetched() != 1+5+1 {
		t.Errorf("%d fetches after ten seconds more", i.fetched())
	}
}

// A key that is known settles it, whatever the token says of it.
func TestAKnownKeyCausesNoFetch(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	accept(t, v, key.sign(t, i.claims(nil), nil))
	refuseToken(t, v, signRaw(t, key, `{"alg":"ES256","kid":"k1"}`, i.claims(nil)))
	refuseToken(t, v, newSigner(t, "k1", jwa.EdDSA()).sign(t, i.claims(nil), nil))
	if i.fetched() != 1 {
		t.Errorf("%d fetches", i.fetched())
	}
}

// So many requests may wait for an issuer that hangs, and those of known keys do not.
func TestRequestsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	key, stranger := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.EdDSA())
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	good := key.sign(t, i.claims(nil), nil)
	accept(t, v, good)
	release := make(chan struct{})
	i.change(func(i *issuer) { i.block = release })
	unknown := stranger.sign(t, i.claims(nil), nil)
	ctx, leave := context.WithCancel(t.Context())
	answers := make(chan error, 1100)
	for range 1100 {
		go func() {
			_, err := v.Verify(ctx, unknown)
			answers <- err
		}()
	}
	for range 100 { // who comes when there are a thousand is told at once
		if p := problem.Of(<-answers); p == nil || p.Code != "identity_unavailable" {
			t.Errorf("got %v", p)
		}
	}
	accept(t, v, good)
	accept(t, v, key.sign(t, i.claims(map[string]any{"sub": "ben"}), nil))
	leave()
	for range 1000 {
		<-answers
	}
	close(release)
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

// An issuer that signs with a key in the moment in which it publishes it is believed, as
// often as it does, and a fetch that came a moment too early is not the last word.
func TestARotatedKeyIsAcceptedAtOnce(t *testing.T) {
	t.Parallel()
	keys := []signer{newSigner(t, "k0", jwa.EdDSA())}
	i := newIssuer(t, keys[0])
	v := i.verifier(newClock().Now)
	accept(t, v, keys[0].sign(t, i.claims(nil), nil))
	for n := 1; n <= 5; n++ {
		keys = append(keys, newSigner(t, fmt.Sprint("k", n), jwa.ES256()))
		i.publish(keys...)
		accept(t, v, keys[n].sign(t, i.claims(nil), nil))
		accept(t, v, keys[0].sign(t, i.claims(map[string]any{"sub": fmt.Sprint("user-", n)}), nil))
	}
	if i.fetched() != 6 {
		t.Errorf("%d fetches", i.fetched())
	}
}

func TestAFetchThatCameTooEarlyIsNotTheLastWord(t *testing.T) {
	t.Parallel()
	first, second := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.EdDSA())
	i := newIssuer(t, first)
	v := i.verifier(newClock().Now)
	accept(t, v, first.sign(t, i.claims(nil), nil))
	release, asked := make(chan struct{}), make(chan struct{})
	i.change(func(i *issuer) { i.block, i.asked = release, asked })
	go func() {
		_, _ = v.Verify(context.Background(), newSigner(t, "ghost", jwa.EdDSA()).sign(t, i.claims(nil), nil))
	}()
	<-asked // the keys of before are on their way
	i.publish(first, second)
	ctx, verified := &watched{Context: t.Context(), waiting: make(chan struct{})}, make(chan error)
	go func() {
		_, err := v.Verify(ctx, second.sign(t, i.claims(nil), nil))
		verified <- err
	}()
	<-ctx.waiting
	i.change(func(i *issuer) { i.block = nil })
	close(release)
	must(t, <-verified)
}

// watched is a context that tells when somebody waits with it.
type watched struct {
	context.Context
	once    sync.Once
	waiting chan struct{}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// While the issuer does not answer, nobody can say that a key is not one of its own.
func TestAnUnknownKeyInAnOutageIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	first, second, c := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.EdDSA()), newClock()
	i := newIssuer(t, first)
	v := i.verifier(c.Now)
	accept(t, v, first.sign(t, i.claims(nil), nil))
	i.publish(first, second)
	i.change(func(i *issuer) { i.status = http.StatusBadGateway })
	token := second.sign(t, i.claims(nil), nil)
	for range 10 {
		refuse(t, v, token, problem.Unavailable, "identity_unavailable")
	}
	if i.discovered() != 1+5 {
		t.Errorf("asked %d times", i.discovered())
	}
	i.change(func(i *issuer) { i.status = http.StatusOK })
	c.advance(10 * time.Second)
	accept(t, v, token)
}

func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	t.Parallel()
	first, second, c := newSigner(t, "k1", jwa.EdDSA()), newSigner(t, "k2", jwa.EdDSA()), newClock()
	i := newIssuer(t, first)
	v := i.verifier(c.Now)
	token := first.sign(t, i.claims(nil), nil)
	accept(t, v, token)

	i.publish(second)
	c.advance(15 * time.Second)
	_ = v.Probe(t.Context()) // waits for the fetch that is due
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
	c.advance(15 * time.Second)
	_ = v.Probe(t.Context()) // waits for the fetch that is due
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
	c.advance(15 * time.Second)
	_ = v.Probe(t.Context()) // waits for the fetch that is due
	refuseToken(t, v, token)
	if err := v.Probe(t.Context()); err == nil {
		t.Error("health does not show that there are no keys")
	}
}

// Whatever the issuer does, a token whose key is known does not wait for it.
func TestAKnownKeyNeverWaits(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	token := key.sign(t, i.claims(map[string]any{"exp": start.Add(100 * time.Hour).Unix()}), nil)
	accept(t, v, token)

	release, asked := make(chan struct{}), make(chan struct{})
	i.change(func(i *issuer) { i.block, i.asked = release, asked })
	c.advance(15 * time.Second)
	accept(t, v, token) // is what starts the fetch
	<-asked
	for _, age := range []time.Duration{0, time.Minute, time.Hour, 20 * time.Hour} {
		c.advance(age)
		accept(t, v, token)
		accept(t, v, key.sign(t, i.claims(map[string]any{"sub": age.String(), "exp": start.Add(100 * time.Hour).Unix()}), nil))
	}
	close(release)
	c.advance(10 * time.Second)
	must(t, v.Probe(t.Context())) // waits for the answer
}

// Health does not wait longer than it wants to, and says what it does not know.
func TestHealthOfAnIssuerThatHangs(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	release := make(chan struct{})
	defer close(release)
	i.change(func(i *issuer) { i.block = release })
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	v := i.verifier(c.Now)
	if err := v.Probe(impatient); !errors.Is(err, identity.ErrNoKeys) {
		t.Errorf("without keys: %v", err)
	}
	i.change(func(i *issuer) { i.block = nil })
	v = i.verifier(c.Now)
	must(t, v.Probe(t.Context()))
	i.change(func(i *issuer) { i.block = release })
	c.advance(15 * time.Second)
	if err := v.Probe(impatient); err == nil || errors.Is(err, identity.ErrNoKeys) {
		t.Errorf("with keys: %v", err)
	}
}

// Keys are there before the first token, and are refreshed although none comes.
func TestRunKeepsKeysFresh(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	i.change(func(i *issuer) { i.asked = asked })
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	<-asked
	accept(t, v, key.sign(t, i.claims(nil), nil))
	if i.fetched() != 1 {
		t.Errorf("%d fetches", i.fetched())
	}
	again := make(chan struct{})
	i.change(func(i *issuer) { i.asked = again })
	c.advance(time.Minute)
	<-again
	stop()
	<-ended
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

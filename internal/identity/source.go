package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// refreshAfter is the age at which keys are fetched again, in the background: a
	// rotated key is to be known, and a withdrawn one forgotten, within 30 seconds.
	refreshAfter = 15 * time.Second
	// minGap lies between two fetches by the clock, so that an issuer that is in trouble
	// is not asked by every request.
	minGap = 10 * time.Second
	// forcedAtOnce is how many fetches tokens of unknown keys may force at once, and
	// forcedGap how often one comes on top: an issuer may rotate several times in a
	// minute without a good token being refused, and forged key ids still do not turn
	// into requests to it.
	forcedAtOnce = 5
	forcedGap    = 10 * time.Second
	// firstGap lies between two attempts while there are no keys at all, as when both
	// services start together.
	firstGap = time.Second
	// maxAge is how long keys serve without a word from the issuer: long enough for
	// an outage to be repaired, not for ever.
	maxAge = 24 * time.Hour
	// fetchTimeout bounds one fetch, both documents together.
	fetchTimeout = 5 * time.Second
	// maxWaiting bounds the requests that wait for the issuer, each with its memory;
	// only those wait whose key is not at hand.
	maxWaiting = 1000
)

// errNoGoodKeys is an answer of the issuer, unlike what else goes wrong.
var errNoGoodKeys = errors.New("the issuer publishes no key that can be used")

// keySource keeps the issuer's keys: refreshed by a clock and by use, never by two
// fetches at once, and the last good ones kept through an outage. A token whose key is
// at hand never waits for the issuer, in whatever state that is.
type keySource struct {
	url     string
	issuer  string
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	metrics sourceMetrics
	// development lets keys of the development issuer in.
	development bool

	current atomic.Pointer[keySet] // nil before the first good answer
	waiting atomic.Int64           // requests that wait for a fetch

	mu      sync.Mutex
	flight  chan struct{} // closed at the end of the fetch under way, nil without one
	started time.Time     // of the last fetch
	err     error         // of the last fetch that ended
	// forcible is when as many fetches as forcedAtOnce may be forced again (GCRA).
	forcible time.Time
}

func newKeySource(url string, o Options) *keySource {
	s := &keySource{url: url, issuer: o.Issuer, client: newClient(), now: o.Now, log: o.Log, development: o.Development}
	s.measure(o.Metrics)
	if o.Transport != nil {
		s.client.Transport = o.Transport(s.client.Transport)
	}
	return s
}

// run keeps the keys fresh until ctx ends, whether tokens come or not.
func (s *keySource) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		again := firstGap
		switch set := s.current.Load(); {
		case set == nil:
			s.refresh(firstGap)
		case s.age(set) < refreshAfter:
			again = refreshAfter - s.age(set)
		default:
			s.refresh(minGap)
		}
		timer.Reset(again)
	}
}

// atHand returns the keys to verify with now, without waiting; nil when there are none.
// It has them refreshed when that is due.
func (s *keySource) atHand() *keySet {
	set := s.current.Load()
	if set == nil {
		return nil
	}
	age := s.age(set)
	if age >= refreshAfter {
		s.refresh(minGap)
	}
	if age > maxAge {
		return nil
	}
	return set
}

// first returns the keys where there were none at hand.
func (s *keySource) first(ctx context.Context) (*keySet, error) {
	if err := s.wait(ctx, s.refresh(firstGap)); err != nil {
		return nil, err
	}
	if set := s.atHand(); set != nil {
		return set, nil
	}
	return nil, unavailable()
}

// afterUnknown finds the key of a token that is not among those at hand: it asks the
// issuer anew, unless such tokens have made it do so often enough. A fetch that was
// under way when the token came may have been answered before the key was published,
// so that one is not the last word.
func (s *keySource) afterUnknown(ctx context.Context, h header) (*keySet, publicKey, error) {
	for range 2 {
		fetched, joined := s.force()
		if err := s.wait(ctx, fetched); err != nil {
			return nil, publicKey{}, err
		}
		set := s.atHand()
		if set == nil {
			return nil, publicKey{}, unavailable()
		}
		if key, found := set.find(h); found {
			return set, key, nil
		}
		if !joined {
			break
		}
	}
	if err := s.lastError(); err != nil && !errors.Is(err, errNoGoodKeys) {
		// It may be a good token of a key that we could not be told of.
		return nil, publicKey{}, unavailable()
	}
	return nil, publicKey{}, invalidToken("The token is signed with a key that its issuer does not publish.")
}

// age is how old the keys are; a clock that was set back makes them due, so that it
// cannot keep them for ever.
func (s *keySource) age(set *keySet) time.Duration {
	if age := s.now().Sub(set.loadedAt); age >= 0 {
		return age
	}
	return refreshAfter
}

func (s *keySource) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// force starts a fetch for a token of an unknown key. joined says that another one was
// under way already and is to be waited for; nil that there have been enough.
func (s *keySource) force() (fetched <-chan struct{}, joined bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight, true
	}
	now := s.now()
	next := s.forcible
	if next.Before(now) || next.After(now.Add(forcedAtOnce*forcedGap)) { // or the clock was set back
		next = now
	}
	if next = next.Add(forcedGap); next.After(now.Add(forcedAtOnce * forcedGap)) {
		return nil, false
	}
	s.forcible = next
	return s.start(now), false
}

// refresh starts a fetch, or joins the one under way; the channel is closed when
// it has ended. It is nil when the last one began less than gap ago.
func (s *keySource) refresh(gap time.Duration) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	now := s.now()
	if since := now.Sub(s.started); since >= 0 && since < gap {
		return nil
	}
	return s.start(now)
}

// start needs s.mu.
func (s *keySource) start(now time.Time) <-chan struct{} {
	s.started, s.flight = now, make(chan struct{})
	go s.fetchKeys(s.flight)
	return s.flight
}

// fetchKeys runs apart from the request that caused it: others wait for it too.
func (s *keySource) fetchKeys(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	began := time.Now()
	keys, err := s.fetch(ctx)
	s.metrics.took(time.Since(began), err)
	if err == nil {
		s.store(keys)
		if len(keys) == 0 {
			err = errNoGoodKeys
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(err)
	s.err, s.flight = err, nil
	close(done)
}

// store takes a good answer as the truth, an empty one included: the issuer may
// withdraw every key it has.
func (s *keySource) store(keys []publicKey) {
	next := &keySet{keys: keys, loadedAt: s.now()}
	if last := s.current.Load(); last != nil && !next.lacks(last) {
		next.verified = last.verified
	} else {
		next.verified = newTokenCache()
	}
	s.current.Store(next)
}

// report logs the beginning and the end of an outage, not every attempt in it.
func (s *keySource) report(err error) {
	switch {
	case err != nil && s.err == nil:
		s.log.Warn("the identity service's keys cannot be loaded", "url", s.url, "error", err)
	case err == nil && s.err != nil:
		s.log.Info("the identity service's keys are loaded again", "url", s.url)
	}
}

func (s *keySource) probe(ctx context.Context) error {
	gap := minGap
	set := s.current.Load()
	if set == nil {
		gap = firstGap
	}
	var waited error
	if set == nil || s.age(set) >= refreshAfter {
		waited = wait(ctx, s.refresh(gap))
	}
	err := errors.Join(s.lastError(), waited)
	if s.atHand() == nil {
		return errors.Join(ErrNoKeys, err)
	}
	return err
}

// wait is for requests: of those only so many may wait.
func (s *keySource) wait(ctx context.Context, fetched <-chan struct{}) error {
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > maxWaiting {
		return unavailable()
	}
	return wait(ctx, fetched)
}

// wait waits for the end of a fetch; a nil channel is one that was not started.
func wait(ctx context.Context, done <-chan struct{}) error {
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return unavailable()
	}
}

func unavailable() *problem.Problem {
	return problem.New(problem.Unavailable, "identity_unavailable",
		"The identity service does not answer, so that no token can be verified. Try again.").Retry(firstGap)
}

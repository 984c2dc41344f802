package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	// staleAfter is the age at which a token waits for that fetch: after a quiet time
	// nothing is decided on keys that may long have been withdrawn.
	staleAfter = 25 * time.Second
	// minGap lies between two fetches, whatever tokens come in: forged key ids must
	// not turn into requests to the issuer.
	minGap = 10 * time.Second
	// firstGap lies between two attempts while there are no keys at all, as when both
	// services start together.
	firstGap = time.Second
	// maxAge is how long keys serve without a word from the issuer: long enough for
	// an outage to be repaired, not for ever.
	maxAge = 24 * time.Hour
	// fetchTimeout bounds one fetch, both documents together.
	fetchTimeout = 5 * time.Second
)

// keySource keeps the issuer's keys: fetched when first needed, refreshed by use,
// never by two fetches at once, and the last good ones kept through an outage.
type keySource struct {
	url    string
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	current atomic.Pointer[keySet] // nil before the first good answer

	mu      sync.Mutex
	flight  chan struct{} // closed at the end of the fetch under way, nil without one
	started time.Time     // of the last fetch
	err     error         // of the last fetch that ended
}

func newKeySource(url, issuer string, now func() time.Time, log *slog.Logger) *keySource {
	return &keySource{url: url, issuer: issuer, client: newClient(), now: now, log: log}
}

// fresh returns the keys to verify with now.
func (s *keySource) fresh(ctx context.Context) (*keySet, error) {
	set := s.current.Load()
	age := s.age(set)
	switch {
	case set == nil:
		if err := wait(ctx, s.refresh(firstGap)); err != nil {
			return nil, err
		}
	case age < refreshAfter:
		return set, nil
	case age < staleAfter || s.outage():
		// In an outage nobody waits for what will not come.
		s.refresh(minGap)
	default:
		if err := wait(ctx, s.refresh(minGap)); err != nil {
			return nil, err
		}
	}
	return s.usable()
}

// known is the caller of a token that was verified with the keys as they are, while
// they are fresh: the way of nearly every request.
func (s *keySource) known(token [sha256.Size]byte) (Caller, bool) {
	set := s.current.Load()
	if set == nil || s.age(set) >= refreshAfter {
		return Caller{}, false
	}
	return set.verified.get(token, s.now())
}

// afterUnknown returns the keys after a token named one that is not among them:
// fetched again, unless that was done a moment ago.
func (s *keySource) afterUnknown(ctx context.Context) (*keySet, error) {
	if err := wait(ctx, s.refresh(minGap)); err != nil {
		return nil, err
	}
	return s.usable()
}

func (s *keySource) usable() (*keySet, error) {
	set := s.current.Load()
	if set == nil || s.age(set) > maxAge {
		return nil, unavailable()
	}
	return set, nil
}

// age is how old the keys are; a clock that was set back makes them old, so that
// it cannot keep them for ever.
func (s *keySource) age(set *keySet) time.Duration {
	if set == nil {
		return 0
	}
	if age := s.now().Sub(set.loadedAt); age >= 0 {
		return age
	}
	return staleAfter
}

// outage reports that the issuer failed, and so lately that it probably still does.
func (s *keySource) outage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.now().Sub(s.started)
	return s.err != nil && since >= 0 && since < staleAfter
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
	s.started, s.flight = now, make(chan struct{})
	go s.fetchKeys(s.flight)
	return s.flight
}

// fetchKeys runs apart from the request that caused it: others wait for it too.
func (s *keySource) fetchKeys(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	if err == nil {
		s.store(keys)
		if len(keys) == 0 {
			err = errors.New("the issuer publishes no key that can be used")
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
	if set == nil || s.age(set) >= refreshAfter {
		if err := wait(ctx, s.refresh(gap)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.usable(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoKeys, errors.Join(s.err, err))
	}
	return s.err
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

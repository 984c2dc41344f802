// Package identity says who calls: it verifies bearer tokens against the keys that
// their issuer publishes (OpenID Connect Discovery 1.0, RFC 7517, RFC 7519), and
// it holds the development issuer, which speaks the same protocol, so that there
// is one way in and no back door.
//
// A token's path: header checked, key found by its id, signature verified under
// the one algorithm that fits the key, claims checked. What comes out is a Caller;
// internal/httpapi asks for one with every request.
package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Caller is who a token speaks for. Callers are shared between requests: do not
// change the slices.
type Caller struct {
	// Org is the organisation that everything the caller does belongs to.
	Org string
	// Sub is the login, Person the human behind it: Sub when the token names none.
	Sub    string
	Person string
	Name   string
	Email  string
	Roles  []string
	Groups []string
	// MFA says that the login was confirmed with a second factor.
	MFA bool
	// LoggedIn is when the caller proved who they are; of an issuer that does not say,
	// when the token was issued.
	LoggedIn time.Time
	// Issued is when the token was issued; of an issuer that does not say, when it
	// expires, which tells tokens of one issuer apart just as well.
	Issued  time.Time
	Expires time.Time
}

// Options are what a Verifier needs.
type Options struct {
	// URL is where discovery starts: URL/.well-known/openid-configuration.
	URL string
	// Issuer is the `iss` to expect, byte for byte; URL without a slash at its end
	// when empty.
	Issuer string
	// Audience must be among the token's: "hub-backend".
	Audience string
	// Development lets the keys of the development issuer in, which gives tokens to
	// whoever asks: for development machines alone.
	Development bool
	// Verified is told of a caller when a token was verified anew: once a minute and
	// token, at most. It must not block. Nil is told nothing.
	Verified func(Caller)
	// Transport wraps what the requests to the issuer are sent by; nil leaves it.
	Transport func(http.RoundTripper) http.RoundTripper
	Log       *slog.Logger
	// Metrics gets what the verifier counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// Verifier verifies tokens of one issuer. It has nothing to close.
type Verifier struct {
	issuer   string
	audience string
	verified func(Caller)
	now      func() time.Time
	keys     *keySource
}

// NewVerifier makes a verifier; nothing is fetched yet, so the issuer may start
// after it.
func NewVerifier(options Options) *Verifier {
	url := strings.TrimRight(options.URL, "/")
	if options.Issuer == "" {
		options.Issuer = url
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Verified == nil {
		options.Verified = func(Caller) {}
	}
	return &Verifier{
		issuer:   options.Issuer,
		audience: options.Audience,
		verified: options.Verified,
		now:      options.Now,
		keys:     newKeySource(url, options),
	}
}

// Run keeps the issuer's keys fresh until ctx ends. Without it they are fetched when a
// token first needs them, and refreshed only by use.
func (v *Verifier) Run(ctx context.Context) { v.keys.run(ctx) }

// Verify returns the caller that the token speaks for. Errors: Unauthenticated
// "invalid_token"; Unavailable "identity_unavailable" when the issuer's keys have
// never been loaded, or not for a day, or the token's key is not known and the issuer
// does not answer.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	caller, known, err := v.verify(ctx, token)
	counter := v.keys.metrics.verified
	switch {
	case known:
		counter = v.keys.metrics.known
	case problem.Of(err) != nil && problem.Of(err).Kind == problem.Unauthenticated:
		counter = v.keys.metrics.refused
	case err != nil:
		counter = v.keys.metrics.undetermined
	}
	counter.Inc()
	return caller, err
}

// verify also reports whether the token was known from lately.
func (v *Verifier) verify(ctx context.Context, token string) (_ Caller, known bool, _ error) {
	if len(token) > maxTokenBytes {
		return Caller{}, false, invalidToken("The token is longer than %d bytes.", maxTokenBytes)
	}
	keys, id := v.keys.atHand(), sha256.Sum256([]byte(token))
	if keys != nil {
		// The way of nearly every request.
		if caller, found := keys.verified.get(id, v.now()); found {
			return caller, true, nil
		}
	}
	// Parsed first, so that garbage costs neither a request nor a cache entry.
	header, err := parseHeader(token)
	if err != nil {
		return Caller{}, false, err
	}
	if keys == nil {
		if keys, err = v.keys.first(ctx); err != nil {
			return Caller{}, false, err
		}
	}
	key, found := keys.find(header)
	switch {
	case found:
	case keys.names(header.KeyID):
		return Caller{}, false, invalidToken("The token's algorithm is not that of its key.")
	default:
		if keys, key, err = v.keys.afterUnknown(ctx, header); err != nil {
			return Caller{}, false, err
		}
	}
	payload, err := jws.VerifyCompactFast(key.public, []byte(token), algorithms[header.Algorithm].named)
	if err != nil {
		return Caller{}, false, invalidToken("The token's signature is not valid.")
	}
	now := v.now()
	caller, err := v.readClaims(payload, now)
	if err != nil {
		return Caller{}, false, err
	}
	keys.verified.put(id, caller, now)
	v.verified(caller)
	return caller, false, nil
}

// ErrNoKeys says that no token can be verified, because the issuer's keys have not
// been loaded; with any other error of Probe, known keys still serve.
var ErrNoKeys = errors.New("the identity service's keys have not been loaded")

// ErrDevelopmentIssuer says that keys were refused because their issuer calls itself the
// development issuer, and Options.Development was not set.
var ErrDevelopmentIssuer = errors.New("the issuer is a development issuer, which gives tokens to whoever asks: name the identity service by IDENTITY_SERVICE_URL, or set DEBUG=true on a development machine")

// Probe reports for health whether the issuer answers, asking it when the last
// answer is older than 15 seconds; it waits for as long as ctx lets it. The error's text
// is for the log.
func (v *Verifier) Probe(ctx context.Context) error { return v.keys.probe(ctx) }

func invalidToken(detail string, args ...any) *problem.Problem {
	return problem.New(problem.Unauthenticated, "invalid_token", detail, args...)
}

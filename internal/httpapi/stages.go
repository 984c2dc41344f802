package httpapi

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

// missingToken is the code for a request without credentials, to which RFC 6750
// §3.1 answers no error code.
const missingToken = "missing_token"

// stepUp is the code for a login that is not strong enough, as RFC 9470 §3 names it.
const stepUp = "insufficient_user_authentication"

// maxStrongLogin is how long a second factor counts for what asks for one: the token may
// live on, but who lends it or leaves it behind lends no more than an hour of that.
const maxStrongLogin = time.Hour

// stages puts in front of a route's handler what all routes have in common, in the
// order that gives away least: who calls, whether they may, and only then whether
// the request is well formed.
func (a *API) stages(line *route, handler http.HandlerFunc) http.HandlerFunc {
	if line.Kind.forwarded() && a.reads == nil {
		return a.forward(line)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		e := exchangeOf(r.Context())
		e.route = line
		a.warn(e)
		if err := a.admit(e, r); err != nil {
			e.fail(err)
			return
		}
		if err := a.readBody(e, r); err != nil {
			e.fail(err)
			return
		}
		handler(w, r)
	}
}

// forward sends a read or an operation to the query API, which does all the checking, but
// for how large a body may be. What comes with a read says nothing and stays here.
func (a *API) forward(line *route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e := exchangeOf(r.Context())
		e.route = line
		if line.writes() {
			raw, err := a.readAll(e, r)
			if err != nil {
				e.fail(err)
				return
			}
			e.body = raw
		}
		e.mayWait()
		a.queryAPI.ServeHTTP(w, r)
	}
}

// admit checks caller, permission, path and query of a request.
func (a *API) admit(e *exchange, r *http.Request) error {
	if e.route.Kind == static {
		return nil
	}
	if e.route.authenticated() {
		if err := a.authenticate(e, r); err != nil {
			return err
		}
		if err := a.throttle(e); err != nil {
			return err
		}
	}
	if e.route.Permission != "" && !commands.Allowed(e.route.Permission, e.caller.Roles) {
		return problem.New(problem.Forbidden, "forbidden", "Your roles do not allow this; it needs the permission %s.", e.route.Permission)
	}
	if e.route.MFA && !strong(e.caller, time.Now()) {
		return problem.New(problem.Unauthenticated, stepUp, "This needs a login that was confirmed with a second factor within the last hour. Log in again with one.")
	}
	if !plainText(r.URL.Path) {
		return problem.New(problem.Malformed, "invalid_encoding", "The path is not UTF-8, or holds NUL characters.")
	}
	return e.readQuery(r)
}

// strong reports whether a login will do for what asks for a second factor.
func strong(c identity.Caller, now time.Time) bool {
	return c.MFA && now.Sub(c.LoggedIn) <= maxStrongLogin
}

// authenticate finds out who calls.
// Problems: missing_token, invalid_token, identity_unavailable; with a ticket, those of
// ticketOf and redeem.
func (a *API) authenticate(e *exchange, r *http.Request) error {
	if e.route.Tickets {
		if ticket, found, err := ticketOf(r); found || err != nil {
			if err == nil {
				err = a.redeem(e, r, ticket)
			}
			return err
		}
	}
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return problem.New(problem.Unauthenticated, missingToken, "Send an access token: Authorization: Bearer <token>.")
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if len(lines) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return problem.New(problem.Unauthenticated, "invalid_token", "The Authorization header is not one Bearer token.")
	}
	caller, err := a.verifier.Verify(r.Context(), strings.TrimLeft(token, " "))
	if err != nil {
		return err
	}
	e.caller = caller
	return nil
}

// throttle counts a request of the caller and says in the answer how many are left.
// Requests without a good token are nobody's, and cost little. Problem: rate_limited.
func (a *API) throttle(e *exchange) error {
	if a.limiter == nil {
		return nil
	}
	// No organisation has a slash in its name, so two callers never share a count.
	d := a.limiter.Take(e.request.Context(), e.caller.Org+"/"+e.caller.Sub)
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10) }
	header := e.Header()
	header.Set("RateLimit-Policy", `"default";q=`+strconv.Itoa(d.Limit)+`;w=`+seconds(d.Window()))
	header.Set("RateLimit", `"default";r=`+strconv.Itoa(d.Remaining)+`;t=`+seconds(d.Reset))
	if d.Allowed {
		return nil
	}
	return problem.New(problem.Throttled, "rate_limited", "You have made %d requests within a minute. Send this one again later.", d.Limit).Retry(d.RetryAfter)
}

// readQuery parses the query and refuses parameters that the route does not have:
// one that was silently left out would answer another question than was asked.
// Problems: invalid_query, invalid_encoding, unknown_parameter, repeated_parameter.
func (e *exchange) readQuery(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem.New(problem.Malformed, "invalid_query", "The query of the URL cannot be read: separate parameters by & and percent-encode their values.")
	}
	var unknown, repeated []problem.Field
	for name, given := range values {
		location := clip("query." + name)
		switch {
		case !plainText(name) || slices.ContainsFunc(given, func(value string) bool { return !plainText(value) }):
			return problem.New(problem.Malformed, "invalid_encoding", "The query of the URL is not UTF-8, or holds NUL characters.")
		case !e.route.takes(name):
			unknown = append(unknown, problem.Field{Location: location, Message: "is not a parameter of this request"})
		case len(given) > 1:
			repeated = append(repeated, problem.Field{Location: location, Message: "is given more than once"})
		}
	}
	if len(unknown) > 0 {
		return problem.New(problem.Invalid, "unknown_parameter", "The URL has parameters that do not exist here. Remove them or check their spelling.").With(sorted(unknown)...)
	}
	if len(repeated) > 0 {
		return problem.New(problem.Invalid, "repeated_parameter", "Each parameter may be given once.").With(sorted(repeated)...)
	}
	if e.route.Kind == query || e.route.Kind == feed {
		values = normalQuery(r, values)
	}
	e.query = values
	return nil
}

// normalQuery puts what is looked for into the form in which it was stored, where it
// is not in it already: here, and in the request, where huma reads it.
func normalQuery(r *http.Request, values url.Values) url.Values {
	normal, changed := make(url.Values, len(values)), false
	for name, given := range values {
		normalName, value := strictjson.Normal(name), strictjson.Normal(given[0])
		changed = changed || normalName != name || value != given[0]
		normal.Set(normalName, value)
	}
	if changed {
		r.URL.RawQuery = normal.Encode()
	}
	return normal
}

// plainText reports whether a text can be stored: PostgreSQL takes neither broken
// UTF-8 nor NUL.
func plainText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

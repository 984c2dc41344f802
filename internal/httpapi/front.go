package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// front is the outermost part of the edge, the same for every request.
func (a *API) front(routes http.Handler) http.Handler {
	inner := a.crossOrigin(currentVersion(routes))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := a.exchange(w, r)
		defer a.begin(e)()
		defer e.recover()
		if !a.hosts.allow(r.Host) && !isProbe(canonicalPath(r.URL.Path)) {
			e.fail(problem.New(problem.Malformed, "host_not_allowed", "This server does not answer under the host name of the request."))
			return
		}
		inner.ServeHTTP(e, e.request)
	})
}

// corsMaxAge is how long a browser may remember a preflight, in seconds; ten
// minutes is what most browsers allow at least.
const corsMaxAge = 600

// crossOrigin lets the allowed origins' scripts call the API.
func (a *API) crossOrigin(next http.Handler) http.Handler {
	if len(a.origins) == 0 {
		return next // to rs/cors an empty list would mean every origin
	}
	checked := cors.New(cors.Options{
		AllowedOrigins: a.origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "Content-Encoding", "Accept", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer",
			"Hub-Reason", "Hub-Min-Position", "Hub-Epoch", "X-Request-Id", "Last-Event-ID", "Traceparent", "Tracestate",
		},
		ExposedHeaders: []string{
			"ETag", "Location", "Hub-Position", "Hub-Epoch", "Idempotency-Replayed", "Retry-After", "RateLimit",
			"RateLimit-Policy", "Deprecation", "Sunset", "Link", "WWW-Authenticate", "X-Request-Id", "Preference-Applied",
		},
		MaxAge: corsMaxAge,
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const asked = "Access-Control-Request-Headers"
		if names := r.Header[asked]; r.Method == http.MethodOptions && len(names) > 0 {
			r.Header[asked] = []string{sortedNames(names)}
		}
		checked.ServeHTTP(w, r)
	})
}

// sortedNames writes header names as browsers do (Fetch §4.9): in lower case, sorted,
// each once. rs/cors takes them in no other way, and not every client is a browser.
func sortedNames(lines []string) string {
	names := strings.FieldsFunc(strings.ToLower(strings.Join(lines, ",")), func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// currentVersion rewrites the paths of clients older than /api/v1: a resource
// without a version is the current one's, and a slash at the end means nothing.
func currentVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if encodedSlash(r.URL) {
			notFound(w, r)
			return
		}
		path := canonicalPath(r.URL.Path)
		if path != r.URL.Path {
			// The exchange logs and hashes what the route sees, so it gets the copy, too.
			rewritten := *r
			rewritten.URL = new(url.URL)
			*rewritten.URL = *r.URL
			rewritten.URL.Path, rewritten.URL.RawPath = path, ""
			r = &rewritten
			exchangeOf(r.Context()).request = r
		}
		next.ServeHTTP(w, r)
	})
}

// encodedSlash reports that a path holds a slash that parts no segments. No name in a
// path has one, and taken as one that does, it would lead past what proxies refuse by path.
func encodedSlash(u *url.URL) bool {
	return u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f")
}

// unversioned are the paths below /api that belong to no version.
var unversioned = map[string]struct{}{"v1": {}, "docs": {}, "openapi.json": {}, "asyncapi.json": {}}

func canonicalPath(path string) string {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	resource, found := strings.CutPrefix(path, "/api/")
	if !found {
		return path
	}
	first, _, _ := strings.Cut(resource, "/")
	if _, found := unversioned[first]; found {
		return path
	}
	return basePath + "/" + resource
}

package httpapi

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"
	"github.com/gorilla/mux"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// adapter is a huma.Adapter over gorilla/mux. gorilla tries its routes one after
// the other, so there is one small router for each literal start of a path, found
// by a map: a request costs the same however many areas the API has.
type adapter struct {
	// literals are the paths without parameters, by method. They come before what has a
	// parameter in their place, for every method: /transactions/bulk is no transaction.
	literals map[string]map[string]http.HandlerFunc
	routers  map[string]*mux.Router
	// stages runs before huma does; see stages.go.
	stages func(*route, http.HandlerFunc) http.HandlerFunc
}

// routeMember is where an operation's Metadata keeps its line of the route table.
const routeMember = "route"

func newAdapter(stages func(*route, http.HandlerFunc) http.HandlerFunc) *adapter {
	return &adapter{literals: map[string]map[string]http.HandlerFunc{}, routers: map[string]*mux.Router{}, stages: stages}
}

// Handle adds one operation. Part of huma.Adapter.
func (a *adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	line := op.Metadata[routeMember].(*route)
	line.allowParameters(op.Parameters)
	line.finish(op)
	a.handle(line, func(w http.ResponseWriter, r *http.Request) {
		// There is one representation of everything. huma would read this header all
		// the same, after a command is done, and fails on some (found by FuzzHandler).
		r.Header.Del("Accept")
		handler(humamux.NewContext(op, r, w))
	})
}

// handle adds one route.
func (a *adapter) handle(line *route, handler http.HandlerFunc) {
	methods := []string{line.Method}
	if line.Method == http.MethodGet {
		methods = append(methods, http.MethodHead) // net/http leaves the body out
	}
	handler = a.stages(line, handler)
	if !strings.Contains(line.Path, "{") {
		if a.literals[line.Path] == nil {
			a.literals[line.Path] = map[string]http.HandlerFunc{}
		}
		for _, method := range methods {
			a.literals[line.Path][method] = handler
		}
		return
	}
	prefix := literalPrefix(line.Path)
	router, found := a.routers[prefix]
	if !found {
		// The path is taken as it is: gorilla's cleaning would answer a redirect.
		router = mux.NewRouter().SkipClean(true)
		router.NotFoundHandler = http.HandlerFunc(notFound)
		router.MethodNotAllowedHandler = http.HandlerFunc(a.methodNotAllowed)
		a.routers[prefix] = router
	}
	router.NewRoute().Path(line.Path).Methods(methods...).HandlerFunc(handler)
}

// ServeHTTP answers a request by the route it matches. Part of huma.Adapter.
func (a *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if methods := a.literals[r.URL.Path]; methods != nil {
		if handler := methods[r.Method]; handler != nil {
			handler(w, r)
			return
		}
		a.methodNotAllowed(w, r)
		return
	}
	router, found := a.routers[literalPrefix(r.URL.Path)]
	if !found {
		notFound(w, r)
		return
	}
	router.ServeHTTP(w, r)
}

// literalPrefix is the start of a path that has no parameters: up to and with the
// segment after /api/v1, or after /api, or else the first.
func literalPrefix(path string) string {
	start := 1
	switch {
	case strings.HasPrefix(path, basePath+"/"):
		start = len(basePath) + 1
	case strings.HasPrefix(path, "/api/"):
		start = len("/api/")
	}
	if start >= len(path) {
		return path
	}
	if end := strings.IndexByte(path[start:], '/'); end >= 0 {
		return path[:start+end]
	}
	return path
}

func notFound(_ http.ResponseWriter, r *http.Request) {
	exchangeOf(r.Context()).fail(problem.New(problem.NotFound, "not_found", "There is nothing at this path. GET /api/openapi.json lists what there is."))
}

// methodNotAllowed answers OPTIONS, and 405 to what a path does not take; both
// name the methods it does take.
func (a *adapter) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", strings.Join(a.methods(r), ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	exchangeOf(r.Context()).fail(problem.New(problem.MethodNotAllowed, "method_not_allowed", "This path does not take this method; see the Allow header for those it takes."))
}

// methods finds what the path of r takes, by asking the router as if each method
// had been sent.
func (a *adapter) methods(r *http.Request) []string {
	literal, router := a.literals[r.URL.Path], a.routers[literalPrefix(r.URL.Path)]
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		asked := *r
		asked.Method = method
		var match mux.RouteMatch
		if literal[method] != nil || literal == nil && router.Match(&asked, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	return append(allowed, http.MethodOptions)
}

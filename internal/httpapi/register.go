package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reactdjango-hub/backend/commands"
)

// basePath is where the current version of the API is.
const basePath = "/api/v1"

// kind says what a route does, and so which process answers it and which stages
// it passes.
type kind int

const (
	// command routes change something, through the loop.
	command kind = iota + 1
	// query routes read the read tables; a front door without them forwards these.
	query
	// personal routes say what a token says; they need one, and nothing else.
	personal
	// operations routes tell of and steer what all organisations share; they are
	// answered where queries are.
	operations
	// feed routes read the log itself, and are answered where queries are.
	feed
	// open routes need no token and say nothing about an organisation.
	open
	// probe routes are open ones for whoever runs the process; they answer any host.
	probe
	// operator routes are the probes' neighbours that change something or give away
	// more: only on the address for operators.
	operator
	// static routes are pages that huma knows nothing of.
	static
)

// forwarded reports whether a front door sends such requests to the query API.
func (k kind) forwarded() bool { return k == query || k == feed || k == operations }

// route is one line of the route table.
type route struct {
	Method string
	Path   string
	// ID is the operationId of the OpenAPI document.
	ID         string
	Kind       kind
	Permission commands.Permission
	// MFA asks for a login with a second factor, beside the permission.
	MFA bool
	// Tickets lets a ticket in the URL stand for the access token.
	Tickets bool
	// Status is that of success; see also Creates.
	Status  int
	Summary string
	Tag     string
	// Description explains more than Summary where there is more to know.
	Description string
	// Creates says that the answer is 201 with a Location when the command made
	// something, even where Status is another.
	Creates bool
	// MaxBody is how many bytes a body may have; formBytes when 0.
	MaxBody int64
	// Media are the content types a body may have; application/json when empty.
	Media []string
	// Filters are the fields that a list can be filtered by, beside attributes; nil for
	// a list that takes no filters.
	Filters []string
	// LinesOf is what the body is many of, as an array or one a line (NDJSON); nil for
	// other routes. The handler reads them, so that each can be refused by itself.
	LinesOf reflect.Type
	// Deprecated says that the route is to go; nil for one that stays.
	Deprecated *deprecation

	register registration
	// parameters are the names of the query parameters that the operation declares.
	parameters map[string]struct{}
	// body says that the request has one, bodyOptional that it may do without.
	body, bodyOptional bool
}

// writes reports whether a route changes what others see, and so takes dry_run and
// Idempotency-Key. A ticket is the caller's alone, and kept nowhere.
func (r *route) writes() bool {
	return r.Kind == command || r.Kind == operations && r.Method != http.MethodGet
}

// authenticated reports whether a route needs a token.
func (r *route) authenticated() bool {
	return r.Kind == command || r.Kind == query || r.Kind == feed || r.Kind == operations || r.Kind == personal
}

// registration adds a route's operation to huma; the types of its input and
// output are fixed inside.
type registration func(huma.API, huma.Operation)

// handle makes a registration of a handler. Every error a handler returns passes
// through problemFor here: huma would send the text of a plain error to the caller.
func handle[I, O any](handler func(context.Context, *I) (*O, error)) registration {
	return func(api huma.API, op huma.Operation) {
		huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
			out, err := handler(ctx, in)
			if err != nil {
				return nil, exchangeOf(ctx).problemFor(err)
			}
			return out, nil
		})
	}
}

// add registers a route with huma, described in full.
func (r *route) add(api huma.API) {
	op := huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, DefaultStatus: r.Status,
		Summary: r.Summary, Description: r.Description, Tags: []string{r.Tag},
		Metadata: map[string]any{routeMember: r},
		// The body was read, bounded and checked before huma sees it (body.go), and
		// huma's own deadline would outlive the reading and cancel slow commands.
		MaxBodyBytes: -1, BodyReadTimeout: -1,
	}
	if r.Deprecated != nil {
		r.Deprecated.check(r.ID)
		op.Deprecated = true
		op.Description += r.Deprecated.describe()
	}
	r.describe(api.OpenAPI(), &op)
	if r.Deprecated != nil && !r.Deprecated.Sunset.IsZero() {
		if op.Extensions == nil {
			op.Extensions = map[string]any{}
		}
		// By this the comparison of documents knows from when on the route may be gone.
		op.Extensions["x-sunset"] = r.Deprecated.Sunset.UTC().Format(time.DateOnly)
	}
	r.register(api, op)
}

// allowParameters notes which query parameters an operation has declared.
func (r *route) allowParameters(declared []*huma.Param) {
	r.parameters = map[string]struct{}{}
	for _, parameter := range declared {
		if parameter.In == "query" && !strings.Contains(parameter.Name, "{") {
			r.parameters[parameter.Name] = struct{}{}
		}
	}
}

// takes reports whether a query parameter belongs to the route.
func (r *route) takes(parameter string) bool {
	if _, declared := r.parameters[parameter]; declared {
		return true
	}
	if r.writes() && parameter == dryRunParameter {
		return true
	}
	field, _ := filterName(parameter)
	return r.filtersBy(field)
}

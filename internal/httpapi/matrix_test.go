package httpapi

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/readmodels"
)

// pathOf is a path of the route with names that are nobody's.
func (r *route) pathOf() string {
	return strings.NewReplacer("{id}", someID, "{name}", "customer", "{view}", "entities", "{kind}", "employer", "{target_id}", someID).Replace(r.Path)
}

// Every route, for every role and for nobody: whoever lacks the permission gets
// 403 whatever is sent, and whoever holds it never does.
func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	roles := append(commands.Roles(), "", "unknown")
	tokens := map[string]string{}
	for _, role := range roles {
		tokens[role] = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: slices.DeleteFunc([]string{role}, func(r string) bool { return r == "" })})
	}
	checked := 0
	for _, line := range e.api.routes() {
		if line.Kind == personal || !line.authenticated() {
			continue
		}
		if !slices.Contains(commands.Permissions(), line.Permission) {
			t.Errorf("%s needs the permission %q, which is none", line.ID, line.Permission)
		}
		// What is not well formed is found only after it is known who asks: a query
		// that no route takes ends those who may before anything is done.
		target := line.pathOf() + "?not-a-parameter=1"
		e.call(line.Method, target, "", "Authorization", "").expect(401, "missing_token")
		for _, role := range roles {
			checked++
			answer := e.call(line.Method, target, "", "Authorization", "Bearer "+tokens[role])
			if commands.Allowed(line.Permission, []string{role}) {
				answer.expect(422, "unknown_parameter")
			} else {
				answer.expect(403, "forbidden")
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d cases: the list of routes is not what it was", checked)
	}
}

// permissionsPage is the table of routes, permissions and roles, for people.
const permissionsPage = "../../docs/permissions.md"

var update = flag.Bool("update", false, "write "+permissionsPage)

// permissionsOf is the page as the routes and the roles have it.
func permissionsOf(routes []*route) string {
	var lines []string
	for _, line := range routes {
		if line.Kind == personal || !line.authenticated() {
			continue
		}
		roles := slices.DeleteFunc(commands.Roles(), func(role string) bool { return !commands.Allowed(line.Permission, []string{role}) })
		lines = append(lines, fmt.Sprintf("| `%s` | %s | `%s` | %s |\n", line.Path, line.Method, line.Permission, strings.Join(roles, ", ")))
	}
	slices.Sort(lines)
	return "# Who may do what\n\n" +
		"Every route that asks for a permission, and the roles that hold it. Of single entities, ACL\n" +
		"entries have the last word. Written by `go test ./internal/httpapi -run TestThePageShowsWhoMay -update`.\n\n" +
		"| path | method | permission | roles |\n|---|---|---|---|\n" + strings.Join(lines, "")
}

// The page shows the routes as they are; -update writes it.
func TestThePageShowsWhoMay(t *testing.T) {
	t.Parallel()
	want := permissionsOf(newEdge(t, nil).api.routes())
	if *update {
		require.NoError(t, os.WriteFile(permissionsPage, []byte(want), 0o644))
	}
	shown, err := os.ReadFile(permissionsPage)
	require.NoError(t, err)
	require.Equal(t, want, string(shown), "run the test with -update")
}

// belongings are something of everything that acme has.
type belongings struct {
	*books
	// own are the values of {id} or {name}, by the collection they are in.
	own map[string]string
	// target is what the entity refers to.
	target string
}

func newBelongings(t *testing.T, b *books) *belongings {
	t.Helper()
	b.done("PUT", "/api/v1/entity-types/customer", `{"title":"Customer","relationships":[{"kind":"employer","target":"customer"}]}`)
	entity := b.done("POST", "/api/v1/entities", `{"type":"customer","attributes":{}}`).ID
	target := b.done("POST", "/api/v1/entities", `{"type":"customer","attributes":{}}`).ID
	b.done("POST", "/api/v1/entities/"+entity+"/relationships", `{"kind":"employer","target_id":"`+target+`"}`)
	b.open("1000", "asset", "EUR", "")
	b.open("4000", "income", "EUR", "")
	job := b.done("POST", bulkUpdatesPath, `{"filter":{"status":"active"},"tags":["x"]}`, after(b.position)...).ID
	draft := b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-01", "debit 1000 1, credit 4000 1", "")).ID
	b.call("GET", "/api/v1/transactions/"+draft, "", after(b.position)...)
	return &belongings{books: b, target: target, own: map[string]string{
		"/api/v1/entities": entity, bulkUpdatesPath: job, "/api/v1/entity-types": "customer", accountsPath: b.accounts["1000"], transactionsPath: draft,
	}}
}

// collectionOf is the path before the first parameter, "" for a path without any.
func (r *route) collectionOf() string {
	collection, _, found := strings.Cut(r.Path, "/{")
	if !found {
		return ""
	}
	return collection
}

// pathWith is a path of the route with these values.
func (r *route) pathWith(own, target string) string {
	return strings.NewReplacer("{id}", own, "{name}", own, "{kind}", "employer", "{target_id}", target).Replace(r.Path)
}

// What belongs to one organisation is for another as what nobody has, whatever the role.
func TestEveryRouteForAnotherOrganisation(t *testing.T) {
	t.Parallel()
	b := newBelongings(t, newBooks(t))
	bodies := map[string]string{
		"patchEntity": `{"tags":["x"]}`, "addRelationship": `{"kind":"employer","target_id":"` + b.target + `"}`, "shareEntity": `{"entries":[]}`,
		"defineEntityType": `{"title":"Customer"}`, "patchTransaction": `{"description":"x"}`,
	}
	answered := func(line *route, own, target, parameters string) string {
		answer := b.call(line.Method, line.pathWith(own, target)+parameters, bodies[line.ID], after(b.position)...)
		if answer.Status < 400 {
			return fmt.Sprint(answer.Status)
		}
		p := answer.problem()
		return fmt.Sprint(p.Status, " ", p.Code, ": ", p.Detail)
	}
	for _, line := range b.api.routes() {
		// What operators steer is there once, for all organisations.
		if line.collectionOf() == "" || line.Kind == operations {
			continue
		}
		own, known := b.own[line.collectionOf()]
		if !known {
			t.Errorf("%s: say in newBelongings what acme has there", line.ID)
			continue
		}
		nobodys := someID
		if strings.Contains(line.Path, "{name}") {
			nobodys = "nobodys"
		}
		// The owner is answered otherwise, or else nothing would be shown here.
		b.as("ana", "admin")
		asked := mustAsk[line.ID]
		dry := asked
		if line.Kind == command {
			dry = "?dry_run=true"
		}
		if mine := answered(line, own, b.target, dry); mine == answered(line, nobodys, someID, dry) {
			t.Errorf("%s: acme itself is answered %s", line.ID, mine)
		}
		for _, role := range commands.Roles() {
			// Each route in an organisation of its own, where no other has made anything.
			b.asOf("other-"+line.ID, "ana", role)
			got, want := answered(line, own, b.target, asked), answered(line, nobodys, someID, asked)
			if mayAsk := commands.Allowed(line.Permission, []string{role}); mayAsk == strings.HasPrefix(want, "403") || strings.HasPrefix(want, "401") {
				t.Errorf("%s as %s: %s", line.ID, role, want)
			}
			if got != want {
				t.Errorf("%s as %s: %s, but of what nobody has %s", line.ID, role, got, want)
			}
		}
	}
}

// withoutRoundTrip are the queries that do not read the views, and why.
var withoutRoundTrip = map[string]string{
	"listAccesses": "reads the log, where accesses are recorded",
}

// mustAsk are what queries are asked for that need more than a path.
var mustAsk = map[string]string{"getBalances": "?from=2026-01-01&to=2026-01-31"}

// Every query route is one round trip to the read tables, once its statement is prepared
// and unless it was asked to wait for a position.
func TestEveryQueryRouteIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.project(t)
	b := newBelongings(t, &books{edge: newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads }), t: t, accounts: map[string]string{}})
	trips := &tripCounter{}
	reads := readmodels.New(readmodels.Options{Pool: tracedPool(t, s.url, trips), CursorKey: []byte("0123456789abcdef")})
	b.edge = newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, reads })
	excepted := maps.Clone(withoutRoundTrip)
	for _, line := range b.api.routes() {
		if line.Kind != query {
			continue
		}
		if _, without := excepted[line.ID]; without {
			delete(excepted, line.ID)
			continue
		}
		for _, want := range []string{"", "1 batches, 0 queries, 0 prepares"} {
			trips.reset()
			answer := b.call(line.Method, line.pathWith(b.own[line.collectionOf()], b.target)+mustAsk[line.ID], "")
			require.Equal(t, 200, answer.Status, "%s: %s", line.ID, answer.Body)
			if want != "" {
				require.Equal(t, want, trips.reset(), line.ID)
			}
		}
	}
	require.Empty(t, excepted, "no such query routes")
}

// tracedPool has one connection, so that what was prepared once stays so.
func tracedPool(t *testing.T, url string, tracer pgx.QueryTracer) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = 1
	config.ConnConfig.Tracer = tracer
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET ROLE "+pgx.Identifier{string(eventstore.RoleQuery)}.Sanitize())
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// tripCounter counts what is sent to the server.
type tripCounter struct{ batches, queries, prepares atomic.Int64 }

func (c *tripCounter) reset() string {
	return fmt.Sprintf("%d batches, %d queries, %d prepares", c.batches.Swap(0), c.queries.Swap(0), c.prepares.Swap(0))
}

func (c *tripCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.queries.Add(1)
	return ctx
}

func (c *tripCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *tripCounter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.batches.Add(1)
	return ctx
}

func (c *tripCounter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *tripCounter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (c *tripCounter) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	c.prepares.Add(1)
	return ctx
}

func (c *tripCounter) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

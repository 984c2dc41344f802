package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// described is a hub with something of everything, and what its document says of it.
type described struct {
	*hub
	everybody string
	// own are the values of the first parameter of a path, by what is before it, and
	// replacing those of the others.
	own       map[string]string
	replacing *strings.Replacer
	// needed are what queries cannot do without.
	needed   map[string]string
	position string
	document document
}

type document struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]response
	}
}

type operation struct {
	ID         string `json:"operationId"`
	Security   *[]any
	Parameters []parameter
	Responses  map[string]response
}

type parameter struct {
	Ref, Name, In string
	Schema        struct {
		Type string
		Enum []string
	}
}

type response struct {
	Headers map[string]any
}

// parameters are those of an operation, by where they are and their name.
func (d document) parameters(of operation) map[string]parameter {
	found := map[string]parameter{}
	for _, p := range of.Parameters {
		if p.Name == "" {
			p = d.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
		}
		found[p.In+" "+p.Name] = p
	}
	return found
}

// UnmarshalJSON reads $ref, too.
func (p *parameter) UnmarshalJSON(text []byte) error {
	type plain parameter
	read := struct {
		*plain
		Reference string `json:"$ref"`
	}{plain: (*plain)(p)}
	err := json.Unmarshal(text, &read)
	p.Ref = read.Reference
	return err
}

func newDescribed(t *testing.T, h *hub) *described {
	t.Helper()
	d := &described{hub: h}
	require.Equal(t, 200, d.get("/api/openapi.json", "", nil, &d.document))
	admin := d.token("acme", "admin")
	d.everybody = d.token("acme", "admin", "auditor", "privacy", "operator")
	made := func(path string, body map[string]any) string {
		created, response := d.send(http.MethodPost, path, admin, nil, body)
		d.position = response.Header.Get("Hub-Position")
		return created.ID
	}
	d.send(http.MethodPut, "/api/v1/entity-types/customer", admin, nil, map[string]any{
		"title": "Customer", "schema": map[string]any{"type": "object"}, "sensitive": []string{"iban"}, "search": []string{"name"},
		"relationships": []map[string]any{{"kind": "employer", "target": "customer"}},
	})
	customer := map[string]any{"type": "customer", "attributes": map[string]any{"name": "Ana", "iban": "DE1"}}
	entity, target := made("/api/v1/entities", customer), made("/api/v1/entities", customer)
	d.send(http.MethodPost, "/api/v1/entities/"+entity+"/relationships", admin, nil, map[string]any{"kind": "employer", "target_id": target})
	var lines []map[string]any
	for i, kind := range []string{"asset", "income"} {
		account := made("/api/v1/accounts", map[string]any{"code": kind, "name": kind, "kind": kind, "currency": "EUR"})
		lines = append(lines, map[string]any{"account_id": account, "side": []string{"debit", "credit"}[i], "amount": "5.00"})
	}
	draft := made("/api/v1/transactions", map[string]any{"date": "2026-01-31", "lines": lines, "action": "draft"})
	filter := map[string]any{"filter": map[string]any{"type": "customer"}, "tags": []string{"x"}}
	job, response := d.send(http.MethodPost, "/api/v1/entities/bulk", admin, after(1), filter)
	d.position = response.Header.Get("Hub-Position")
	d.eventually("the job is done", func() bool {
		var found struct{ State string }
		require.Equal(t, 200, d.get("/api/v1/entities/bulk/"+job.ID, admin, map[string]string{"Hub-Min-Position": d.position, "Prefer": "wait=30"}, &found))
		return found.State == "completed"
	})
	for range 2 { // what is sensitive is shown twice, so that there are two records
		require.Equal(t, 200, d.get("/api/v1/entities/"+entity, d.everybody, map[string]string{"Hub-Min-Position": d.position, "Prefer": "wait=30"}, nil))
	}
	d.own = map[string]string{
		"/api/v1/entities/": entity, "/api/v1/entities/bulk/": job.ID, "/api/v1/entity-types/": "customer",
		"/api/v1/accounts/": lines[0]["account_id"].(string), "/api/v1/transactions/": draft,
		"/api/v1/operations/views/": "entities", "/api/v1/operations/parked/": "entities", "/api/v1/operations/reactions/": "members",
	}
	d.replacing = strings.NewReplacer("{kind}", "employer", "{target_id}", target)
	d.needed = map[string]string{"listAccesses": "actor=ana", "getBalances": "from=2026-01-01&to=2026-01-31"}
	return d
}

// reads are the operations that read, by path with its values.
func (d *described) reads() map[string]operation {
	found := map[string]operation{}
	for path, methods := range d.document.Paths {
		read, there := methods["get"]
		if there && strings.HasPrefix(path, "/api/v1/") {
			found[d.at(path)] = read
		}
	}
	require.Greater(d.t, len(found), 25, "the document is not what it was")
	return found
}

// at is a path with its values.
func (d *described) at(path string) string {
	before, rest, found := strings.Cut(path, "{")
	if !found {
		return path
	}
	_, after, _ := strings.Cut(rest, "}")
	return d.replacing.Replace(before + d.own[before] + after)
}

// reading is what came, of a stream without its body.
type reading struct {
	status int
	header http.Header
	body   string
	fields struct {
		Code  string
		Items *[]map[string]any
		Next  *string `json:"next_cursor"`
		Count *int64
	}
}

// ask reads a path with a query and headers, name and value by turns.
func (d *described) ask(method, path string, op operation, query string, headers ...string) reading {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.base+path+"?"+strings.Trim(d.needed[op.ID]+"&"+query, "&"), nil)
	require.NoError(d.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	if request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+d.everybody)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(d.t, err)
	defer func() { _ = response.Body.Close() }()
	found := reading{status: response.StatusCode, header: response.Header}
	if response.Header.Get("Content-Type") == "text/event-stream" {
		return found
	}
	text, err := io.ReadAll(response.Body)
	require.NoError(d.t, err)
	if found.body = string(text); strings.HasPrefix(found.body, "{") {
		require.NoError(d.t, json.Unmarshal(text, &found.fields), "%s: %s", path, found.body)
	}
	if found.status < 300 {
		found.fields.Code = "" // a member of what was read
	}
	return found
}

// expect asks and holds the answer to a status and, of refusals, a code.
func (d *described) expect(status int, code, path string, op operation, query string, headers ...string) reading {
	d.t.Helper()
	got := d.ask(http.MethodGet, path, op, query, headers...)
	assert.Equal(d.t, []any{status, code}, []any{got.status, got.fields.Code}, "%s?%s %q: %s", path, query, headers, got.body)
	return got
}

// Whatever the document says that a read takes and answers, it takes and answers, and means.
func TestEveryReadDoesWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	newDescribed(t, newDevHub(t).start()).everyReadDoes(t)
}

// So it is through a front door.
func TestEveryReadThroughAFrontDoorDoesWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	newDescribed(t, startRoles(t)).everyReadDoes(t)
}

func (d *described) everyReadDoes(t *testing.T) {
	t.Helper()
	tried := map[string]int{}
	for path, op := range d.reads() {
		whole := d.expect(200, "", path, op, "")
		for name := range op.Responses["200"].Headers {
			assert.NotEmpty(t, whole.header.Get(name), "%s: %s", path, name)
		}
		assert.NotEmpty(t, whole.header.Get("X-Request-Id"), path)
		if op.Security == nil {
			d.expect(422, "unknown_parameter", path, op, "nonsense=1")
		}
		for place, p := range d.document.parameters(op) {
			if try := tries[place]; try != nil {
				try(d, path, op, whole)
				tried[place]++
			}
			if p.In == "query" && !strings.Contains(p.Name, "{") && p.Name != "ticket" { // which stands for the token
				d.holdToSchema(path, op, p)
				tried["schema"]++
			}
		}
	}
	for place := range tries {
		assert.Positive(t, tried[place], "no read has %s any more", place)
	}
	assert.Greater(t, tried["schema"], 100)
}

// holdToSchema sends what a parameter cannot be.
func (d *described) holdToSchema(path string, op operation, p parameter) {
	name := url.QueryEscape(p.Name)
	d.expect(422, "repeated_parameter", path, op, name+"=1&"+name+"=1")
	if p.Schema.Type == "integer" || p.Schema.Type == "boolean" || len(p.Schema.Enum) > 0 {
		for _, wrong := range []string{"nonsense", "1e400", "1.5", "%2B", "99999999999999999999"} {
			if got := d.ask(http.MethodGet, path, op, name+"="+wrong); got.status != 422 && !strings.Contains(d.needed[op.ID], p.Name) {
				assert.Fail(d.t, "taken", "%s?%s=%s: %d %s", path, name, wrong, got.status, got.body)
			}
		}
	}
}

// tries are what the parameters that many reads share mean, by where they are and their name.
var tries = map[string]func(d *described, path string, op operation, whole reading){
	"header X-Request-Id": func(d *described, path string, op operation, _ reading) {
		assert.Equal(d.t, "mine", d.expect(200, "", path, op, "", "X-Request-Id", "mine").header.Get("X-Request-Id"), path)
	},
	"header If-None-Match": func(d *described, path string, op operation, whole reading) {
		tag := whole.header.Get("ETag")
		for _, same := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			got := d.expect(304, "", path, op, "", "If-None-Match", same)
			assert.Empty(d.t, got.body, path)
			assert.Equal(d.t, tag, got.header.Get("ETag"), path)
		}
		d.expect(200, "", path, op, "", "If-None-Match", `"x"`)
	},
	"header Hub-Min-Position": func(d *described, path string, op operation, _ reading) {
		d.expect(200, "", path, op, "", "Hub-Min-Position", d.position)
		lagging := d.expect(503, "projection_lagging", path, op, "", "Hub-Min-Position", "9223372036854775807", "Prefer", "wait=0")
		assert.NotEmpty(d.t, lagging.header.Get("Retry-After"), path)
		for _, none := range []string{"-1", "x", "1.0", "9223372036854775808", ""} {
			d.expect(400, "invalid_min_position", path, op, "", "Hub-Min-Position", none)
		}
		d.expect(400, "invalid_min_position", path, op, "", "Hub-Min-Position", "1", "Hub-Min-Position", "1")
	},
	"header Hub-Epoch": func(d *described, path string, op operation, whole reading) {
		d.expect(200, "", path, op, "", "Hub-Epoch", whole.header.Get("Hub-Epoch"), "Hub-Min-Position", "1")
		for _, lost := range []string{uuid.NewString(), "x"} {
			d.expect(409, "epoch_changed", path, op, "", "Hub-Epoch", lost, "Hub-Min-Position", "1")
		}
	},
	"header Last-Event-ID": func(d *described, path string, op operation, _ reading) {
		d.expect(200, "", path, op, "", "Last-Event-ID", "1")
		d.expect(400, "invalid_last_event_id", path, op, "", "Last-Event-ID", "x")
	},
	"query limit": func(d *described, path string, op operation, _ reading) {
		got := d.expect(200, "", path, op, "limit=1")
		if got.fields.Items != nil {
			assert.LessOrEqual(d.t, len(*got.fields.Items), 1, path)
		}
		for _, beyond := range []string{"0", "501", "-1"} {
			d.expect(422, "invalid_request", path, op, "limit="+beyond)
		}
	},
	"query cursor": func(d *described, path string, op operation, whole reading) {
		d.expect(400, "invalid_cursor", path, op, "cursor=x")
		if len(*whole.fields.Items) < 2 {
			return
		}
		first := d.expect(200, "", path, op, "limit=1")
		if first.fields.Next == nil {
			assert.Contains(d.t, first.body, `"truncated":true`, path)
			return
		}
		second := d.expect(200, "", path, op, "limit=1&cursor="+*first.fields.Next)
		assert.Equal(d.t, (*whole.fields.Items)[:2], slices.Concat(*first.fields.Items, *second.fields.Items), path)
		altered := []byte(*first.fields.Next)
		for _, i := range []int{0, len(altered) / 2, len(altered) - 1} {
			altered[i] ^= 1
			d.expect(400, "invalid_cursor", path, op, "limit=1&cursor="+url.QueryEscape(string(altered)))
			altered[i] ^= 1
		}
		elsewhere := d.token("other", "admin", "auditor")
		if got := d.ask(http.MethodGet, path, op, "limit=1&cursor="+*first.fields.Next, "Authorization", "Bearer "+elsewhere); got.status != 404 { // the whole resource is not there
			assert.Equal(d.t, "invalid_cursor", got.fields.Code, "%s: %s", path, got.body)
		}
	},
	"query count": func(d *described, path string, op operation, whole reading) {
		got := d.expect(200, "", path, op, "count=true")
		if assert.NotNil(d.t, got.fields.Count, path) && whole.fields.Next == nil {
			assert.Len(d.t, *whole.fields.Items, int(*got.fields.Count), path)
		}
		assert.Nil(d.t, d.expect(200, "", path, op, "count=false").fields.Count, path)
	},
	"query fields": func(d *described, path string, op operation, whole reading) {
		d.expect(422, "invalid_fields", path, op, "fields=nonsense")
		one := map[string]any{}
		if whole.fields.Items == nil {
			require.NoError(d.t, json.Unmarshal([]byte(whole.body), &one), path)
		} else if len(*whole.fields.Items) > 0 {
			one = (*whole.fields.Items)[0]
		}
		for name := range one {
			got := d.expect(200, "", path, op, "fields="+name)
			shown := map[string]any{}
			if got.fields.Items == nil {
				require.NoError(d.t, json.Unmarshal([]byte(got.body), &shown), path)
			} else {
				shown = (*got.fields.Items)[0]
			}
			assert.Contains(d.t, shown, name, path)
			assert.Len(d.t, shown, 1, "%s: %s", path, got.body)
			break
		}
	},
	"query expand": func(d *described, path string, op operation, _ reading) {
		for _, wrong := range []string{"nonsense", "a.b.c"} {
			got := d.ask(http.MethodGet, path, op, "expand="+wrong)
			assert.Equal(d.t, 422, got.status, "%s: %s", path, got.body)
			assert.Contains(d.t, got.body, `"location":"query.expand"`, path)
		}
	},
	"query sort": func(d *described, path string, op operation, _ reading) {
		d.expect(422, "invalid_request", path, op, "sort=nonsense")
	},
	"query offset": func(d *described, path string, op operation, whole reading) {
		all := *whole.fields.Items
		assert.Equal(d.t, all[min(1, len(all)):], *d.expect(200, "", path, op, "offset=1").fields.Items, path)
		for _, beyond := range []string{"-1", "10001"} {
			d.expect(422, "invalid_request", path, op, "offset="+beyond)
		}
	},
	"query id": func(d *described, path string, op operation, whole reading) {
		wanted := (*whole.fields.Items)[0]["id"].(string)
		assert.Len(d.t, *d.expect(200, "", path, op, "id="+wanted).fields.Items, 1, path)
		d.expect(422, "invalid_filter", path, op, "id=nonsense")
		many := strings.Repeat(","+wanted, 501)[1:]
		d.expect(422, "invalid_filter", path, op, "id="+many)
	},
}

// A path takes the methods that the document has for it, and says so; with a slash at its
// end and without the version it is the same path.
func TestEveryPathTakesTheMethodsThatItSays(t *testing.T) {
	t.Parallel()
	d := newDescribed(t, newDevHub(t).start())
	var onlyForOperators int
	for described, methods := range d.document.Paths {
		path := d.at(described)
		if described == "/log-level" {
			onlyForOperators++
			assert.Equal(t, 404, d.ask(http.MethodGet, path, operation{}, "").status)
			continue
		}
		var takes []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			like := method
			if method == "HEAD" {
				like = "GET"
			}
			if _, there := methods[strings.ToLower(like)]; there {
				takes = append(takes, method)
			}
		}
		allow := strings.Join(append(takes, "OPTIONS"), ", ")
		ways := []string{path, path + "/"}
		if resource, versioned := strings.CutPrefix(path, "/api/v1/"); versioned {
			ways = append(ways, "/api/"+resource, "/api/"+resource+"/")
		}
		for _, way := range ways {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"} {
				if !slices.Contains(takes, method) {
					got := d.ask(method, way, operation{}, "")
					assert.Equal(t, []any{405, allow}, []any{got.status, got.header.Get("Allow")}, "%s %s", method, way)
					assert.Contains(t, []string{"method_not_allowed", ""}, got.fields.Code) // to HEAD nothing is said
				}
			}
			got := d.ask(http.MethodOptions, way, operation{}, "")
			assert.Equal(t, []any{204, allow, ""}, []any{got.status, got.header.Get("Allow"), got.body}, way)
			if read, there := methods["get"]; there {
				whole, head := d.ask(http.MethodGet, way, read, ""), d.ask(http.MethodHead, way, read, "")
				assert.Equal(t, []any{200, 200, ""}, []any{whole.status, head.status, head.body}, "%s: %s", way, whole.body)
				for _, name := range []string{"Etag", "Hub-Epoch", "Content-Type"} {
					assert.Equal(t, whole.header.Get(name), head.header.Get(name), "%s: %s", way, name)
				}
			}
		}
	}
	assert.Equal(t, 1, onlyForOperators)
}

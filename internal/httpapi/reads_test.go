package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// after makes a read wait for a write.
func after(position int64) []string { return []string{"Hub-Min-Position", fmt.Sprint(position)} }

// list is a page as a client sees it.
type list struct {
	Items []struct {
		ID, Key, Status string
		Version         int64
	}
	NextCursor *string `json:"next_cursor"`
	Count      *int64
}

func (l list) keys() []string {
	keys := []string{}
	for _, item := range l.Items {
		keys = append(keys, item.Key)
	}
	return keys
}

func TestAWriteIsReadBack(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana","n":1.10},"tags":["vip"]}`)
	answer := e.call("GET", "/api/v1/entities/"+receipt.ID, "", after(receipt.Position)...)
	if answer.Status != 200 || answer.Header.Get("ETag") != `"1"` || answer.Header.Get("Hub-Position") != fmt.Sprint(receipt.Position) ||
		len(answer.Header.Get("Hub-Epoch")) != 36 || answer.Header.Get("Cache-Control") != "private, no-cache" ||
		!slices.Contains(answer.Header.Values("Vary"), "Authorization") {
		t.Fatalf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	var got map[string]any
	answer.json(&got)
	for name, want := range map[string]any{
		"id": receipt.ID, "type": "customer", "key": "C-1", "status": "active", "version": 1.0, "created_by": "ana", "updated_by": "ana",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if !strings.HasSuffix(got["created_at"].(string), "Z") {
		t.Errorf("created_at %v", got["created_at"])
	}
	// Its entity tag serves for both kinds of condition.
	unchanged := e.call("GET", "/api/entities/"+receipt.ID+"/", "", "If-None-Match", `W/"1"`)
	if unchanged.Status != 304 || len(unchanged.Body) != 0 || unchanged.Header.Get("ETag") != `"1"` || unchanged.Header.Get("Hub-Position") == "" || unchanged.Header.Get("Hub-Epoch") == "" {
		t.Errorf("%d %v %q", unchanged.Status, unchanged.Header, unchanged.Body)
	}
	changed := e.call("PATCH", "/api/v1/entities/"+receipt.ID, `{"tags":[]}`, "If-Match", answer.Header.Get("ETag"))
	if changed.Status != 200 {
		t.Fatalf("%d %s", changed.Status, changed.Body)
	}
	again := e.call("GET", "/api/v1/entities/"+receipt.ID, "", "If-None-Match", `"1"`, "Hub-Min-Position", changed.Header.Get("Hub-Position"))
	if again.Status != 200 || again.Header.Get("ETag") != `"2"` {
		t.Errorf("%d %v", again.Status, again.Header)
	}
	head := serve(t, e.handler, e.request("HEAD", "/api/v1/entities/"+receipt.ID, ""))
	if head.Status != 200 || head.Header.Get("ETag") != `"2"` {
		t.Errorf("HEAD: %d %v", head.Status, head.Header)
	}
}

func TestEntityTypesAreReadBack(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	defined := e.call("PUT", "/api/v1/entity-types/asset", `{"title":"Asset","schema":{"type":"object"}}`)
	position := defined.Header.Get("Hub-Position")
	one := e.call("GET", "/api/v1/entity-types/asset", "", "Hub-Min-Position", position)
	var got struct {
		Name, Title string
		Schema      json.RawMessage
		Version     int64
	}
	one.json(&got)
	if one.Status != 200 || got.Name != "asset" || got.Title != "Asset" || string(got.Schema) != `{"type":"object"}` || got.Version != 1 || one.Header.Get("ETag") != `"1"` {
		t.Errorf("%d %s", one.Status, one.Body)
	}
	first := e.call("GET", "/api/entity-types/?limit=1", "")
	var page struct {
		Items      []struct{ Name string }
		NextCursor *string `json:"next_cursor"`
	}
	first.json(&page)
	if first.Status != 200 || len(page.Items) != 1 || page.Items[0].Name != "asset" || page.NextCursor == nil {
		t.Fatalf("%d %s", first.Status, first.Body)
	}
	second := e.call("GET", "/api/v1/entity-types?cursor="+url.QueryEscape(*page.NextCursor), "")
	page.NextCursor = nil
	second.json(&page)
	if len(page.Items) != 1 || page.Items[0].Name != "customer" || page.NextCursor != nil {
		t.Errorf("%s", second.Body)
	}
	for _, name := range []string{"ghost", "NoName", "a-b", strings.Repeat("a", 100)} {
		e.call("GET", "/api/v1/entity-types/"+name, "").expect(404, "not_found")
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	var position int64
	for i := range 5 {
		receipt, _ := e.create(fmt.Sprintf(`{"type":"customer","key":"C-%d","attributes":{"city":"%s","age":%d},"tags":["t%d"]}`, i, []string{"Paris", "Rome"}[i%2], i, i%2))
		position = receipt.Position
	}
	gone, _ := e.create(`{"type":"customer","key":"C-9","attributes":{}}`)
	archived := e.call("DELETE", "/api/v1/entities/"+gone.ID, "")
	if archived.Status != 200 {
		t.Fatalf("%d %s", archived.Status, archived.Body)
	}
	for query, want := range map[string]string{
		"":                                     "C-4 C-3 C-2 C-1 C-0",
		"type=customer&sort=key":               "C-0 C-1 C-2 C-3 C-4",
		"key=C-3":                              "C-3",
		"tag=t1&sort=-key":                     "C-3 C-1",
		"attr.city=Paris&sort=created_at":      "C-0 C-2 C-4",
		"attr.city=Paris&attr.age=2":           "C-2",
		"status=archived":                      "C-9",
		"status=all&sort=-key&limit=2":         "C-9 C-4",
		"type=ghost":                           "",
		"attr.city=&limit=":                    "",
		"key=" + strings.Repeat("a", 5000):     "",
		"attr.%F0%9F%92%A9=1":                  "",
		"type=customer&limit=500&status=all":   "C-9 C-4 C-3 C-2 C-1 C-0",
		"type=&tag=&key=&status=&sort=&count=": "C-4 C-3 C-2 C-1 C-0",
	} {
		answer := e.call("GET", "/api/v1/entities?"+query, "", "Hub-Min-Position", archived.Header.Get("Hub-Position"))
		var page list
		answer.json(&page)
		if got := strings.Join(page.keys(), " "); answer.Status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", query, answer.Status, got, want)
		}
	}
	counted := e.call("GET", "/api/v1/entities?count=true&limit=2", "", after(position)...)
	var page list
	counted.json(&page)
	if page.Count == nil || *page.Count != 5 || len(page.Items) != 2 || page.NextCursor == nil {
		t.Errorf("%s", counted.Body)
	}
}

// What looks the same is the same, however it was typed.
func TestTextsAreNormalised(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const composed, decomposed = "Caf\u00e9", "Cafe\u0301"
	escaped := `Cafe\u0301`
	receipt, _ := e.create(`{"type":"customer","key":"` + decomposed + `","attributes":{"` + decomposed + `":"` + escaped + `","n":1.10},"tags":["` + composed + `"]}`)
	e.call("POST", "/api/v1/entities", `{"type":"customer","key":"`+escaped+`","attributes":{}}`).expect(409, "key_taken")
	path := "/api/v1/entities/" + receipt.ID
	patched := e.call("PATCH", path, `{"attributes":{"city":"`+decomposed+`"}}`)
	got := string(e.call("GET", path, "", "Hub-Min-Position", patched.Header.Get("Hub-Position")).Body)
	if strings.Contains(got, decomposed) || strings.Count(got, composed) != 5 || !strings.Contains(got, "1.10") {
		t.Errorf("%s", got)
	}
	for _, query := range []string{"key=" + decomposed, "tag=" + decomposed, "attr." + decomposed + "=" + decomposed, "attr.city[gte]=" + decomposed} {
		var page list
		e.call("GET", "/api/v1/entities?"+strings.ReplaceAll(query, "\u0301", "%CC%81"), "").json(&page)
		if len(page.Items) != 1 {
			t.Errorf("%s: %d items", query, len(page.Items))
		}
	}
	e.call("PATCH", path, `{"attributes":{"`+composed+`":1,"`+decomposed+`":2}}`).expect(400, "duplicate_name")
	for _, bad := range []string{`\u0007`, `\u202e`, "\u2066", `\u0085`, "\u007f"} {
		for _, body := range []string{
			`{"type":"customer","key":"a` + bad + `","attributes":{}}`, `{"type":"customer","attributes":{"a":["b` + bad + `"]}}`,
			`{"type":"customer","attributes":{"a` + bad + `":1}}`, `{"type":"customer","attributes":{},"tags":["a` + bad + `"]}`,
		} {
			refused := e.call("POST", "/api/v1/entities", body)
			refused.expect(422, "invalid_text")
			if strings.ContainsAny(string(refused.Body), "\u202e\u2066\u0085\u007f") {
				t.Errorf("%q is repeated: %q", bad, refused.Body)
			}
		}
	}
	e.call("PUT", "/api/v1/entity-types/customer", `{"title":"a\u202eb"}`).expect(422, "invalid_text")
	e.call("PUT", "/api/v1/entity-types/customer", `{"title":"a\tb"}`).expect(422, "invalid_title")
	e.call("DELETE", path, "", "Hub-Reason", "a\u202eb").expect(422, "invalid_reason")
	if kept := e.call("PATCH", path, `{"attributes":{"note":"one\ttwo\r\nthree"}}`); kept.Status != 200 {
		t.Errorf("%d %s", kept.Status, kept.Body)
	}
}

func TestPagesAndTheirTags(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	var position int64
	for i := range 7 {
		receipt, _ := e.create(fmt.Sprintf(`{"type":"customer","key":"C-%d","attributes":{}}`, i))
		position = receipt.Position
	}
	first := e.call("GET", "/api/v1/entities?sort=key&limit=3", "", after(position)...)
	seen := []string{}
	for query := ""; ; {
		answer := e.call("GET", "/api/v1/entities?sort=key&limit=3"+query, "")
		var page list
		answer.json(&page)
		seen = append(seen, page.keys()...)
		if page.NextCursor == nil {
			break
		}
		query = "&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if got := strings.Join(seen, " "); got != "C-0 C-1 C-2 C-3 C-4 C-5 C-6" {
		t.Errorf("pages: %s", got)
	}
	// A list keeps its tag while what it shows stays the same, whatever else is written.
	other := e.call("PUT", "/api/v1/entity-types/other", `{"title":"Other"}`)
	same := e.call("GET", "/api/v1/entities?sort=key&limit=3", "", "Hub-Min-Position", other.Header.Get("Hub-Position"), "If-None-Match", first.Header.Get("ETag"))
	if same.Status != 304 || same.Header.Get("Hub-Position") == first.Header.Get("Hub-Position") {
		t.Errorf("%d %v", same.Status, same.Header)
	}
	var page list
	first.json(&page)
	cursor := url.QueryEscape(*page.NextCursor)
	e.call("GET", "/api/v1/entities?sort=-key&limit=3&cursor="+cursor, "").expect(400, "invalid_cursor")
	e.call("GET", "/api/v1/entity-types?cursor="+cursor, "").expect(400, "invalid_cursor")
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"viewer"}})
	e.call("GET", "/api/v1/entities?sort=key&limit=3&cursor="+cursor, "").expect(400, "invalid_cursor")
}

func TestBadReads(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	for query, want := range map[string]struct {
		status int
		code   string
	}{
		"limit=0":                               {422, "invalid_request"},
		"limit=501":                             {422, "invalid_request"},
		"limit=-1":                              {422, "invalid_request"},
		"limit=ten":                             {422, "invalid_request"},
		"limit=1e2":                             {422, "invalid_request"},
		"limit=9999999999999999999999":          {422, "invalid_request"},
		"limit=1&limit=2":                       {422, "repeated_parameter"},
		"count=maybe":                           {422, "invalid_request"},
		"status=deleted":                        {422, "invalid_request"},
		"sort=name":                             {422, "invalid_request"},
		"sort=created_at;drop":                  {400, "invalid_query"},
		"cursor=junk":                           {400, "invalid_cursor"},
		"cursor=%00":                            {400, "invalid_encoding"},
		"cursor=" + strings.Repeat("A", 10_000): {400, "invalid_cursor"},
		"type=%ff":                              {400, "invalid_encoding"},
		"attr.=x":                               {422, "unknown_parameter"},
		"attr..=x":                              {422, "invalid_filter"},
		"attr.a%00=x":                           {400, "invalid_encoding"},
		"attr.a=1&attr.a=2":                     {422, "repeated_parameter"},
		"attr":                                  {422, "unknown_parameter"},
		"Type=x":                                {422, "unknown_parameter"},
		"fields=name":                           {422, "invalid_fields"},
		"fields=id,":                            {422, "invalid_fields"},
		"fields=attributes.":                    {422, "invalid_fields"},
		"fields=type.name":                      {422, "invalid_fields"},
		"fields=" + strings.Repeat("id,", 101):  {422, "invalid_fields"},
		"expand=x":                              {422, "invalid_expand"},
		"expand=created_by":                     {422, "invalid_expand"},
		"expand=type,":                          {422, "invalid_expand"},
		"expand=type.owner.type":                {422, "invalid_expand"},
		"id=x":                                  {422, "invalid_filter"},
		"id=,":                                  {422, "invalid_filter"},
		"id=" + strings.Repeat(someID+",", 500): {422, "invalid_filter"},
		"offset=-1":                             {422, "invalid_request"},
		"offset=10001":                          {422, "invalid_request"},
		"offset=1&cursor=x":                     {422, "invalid_offset"},
		"updated_at[lt]=2026":                   {422, "invalid_filter"},
		"updated_at[]=2026-01-01":               {422, "invalid_filter"},
		"updated_at[like]=2026-01-01":           {422, "invalid_filter"},
		"attr.a[between]=1":                     {422, "invalid_filter"},
		"attr.a[gte]=1e400":                     {422, "invalid_filter"},
		"attr.a[lt]=-1E%2B309":                  {422, "invalid_filter"},
		"attr.a[gt]=1" + strings.Repeat("0", 400): {422, "invalid_filter"},
		"version[gte]=1e400":                      {422, "invalid_filter"},
		"limit=1e400":                             {422, "invalid_request"},
		"attr.[gt]=1":                             {422, "unknown_parameter"},
		"status[ne]=active":                       {422, "unknown_parameter"},
		"limit[gt]=1":                             {422, "unknown_parameter"},
		"[gt]=1":                                  {422, "unknown_parameter"},
	} {
		e.call("GET", "/api/v1/entities?"+query, "").expect(want.status, want.code)
	}
	for _, query := range []string{"attr.a[gt]=1e308", "attr.a=1e400", "attr.a[gt]=1e400x"} { // the last two are texts
		if answer := e.call("GET", "/api/v1/entities?"+query, ""); answer.Status != 200 {
			t.Errorf("%s: %d %s", query, answer.Status, answer.Body)
		}
	}
	for _, id := range []string{"junk", "1", "0197a3a2-51c4-7c3e-9d5b", "0197a3a251c47c3e9d5b6f2a8f1d0c11", "urn:uuid:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"} {
		e.call("GET", "/api/v1/entities/"+id, "").expect(404, "not_found")
	}
	e.call("GET", someEntity+"?expand=x", "").expect(422, "invalid_expand")
	e.call("GET", someEntity+"?fields=x", "").expect(422, "invalid_fields")
	e.call("GET", someEntity+"?attr.a=x", "").expect(422, "unknown_parameter")
	e.call("GET", "/api/v1/entity-types?fields=schema.type", "").expect(422, "invalid_fields")
	e.call("GET", "/api/v1/entity-types/customer?fields=id", "").expect(422, "invalid_fields")
	for _, position := range []string{"-1", "x", "1.5", "9223372036854775808", "1, 2"} {
		e.call("GET", someEntity, "", "Hub-Min-Position", position).expect(400, "invalid_min_position")
	}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	e.defineCustomer()
	receipt, _ := e.create(`{"type":"customer","attributes":{}}`)
	path := "/api/v1/entities/" + receipt.ID
	// No projector has run: there is no view.
	behind := e.call("GET", path, "", append(after(receipt.Position), "Prefer", "wait=0")...)
	behind.expect(503, "projection_lagging")
	if behind.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.project(t)
	found := e.call("GET", path, "", after(receipt.Position)...)
	if found.Status != 200 {
		t.Fatalf("%d %s", found.Status, found.Body)
	}
	epoch := found.Header.Get("Hub-Epoch")
	far := fmt.Sprint(receipt.Position + 1000)
	e.call("GET", path, "", "Hub-Min-Position", far, "Prefer", "wait=0").expect(503, "projection_lagging")
	e.call("GET", path, "", "Hub-Min-Position", far, "Prefer", "wait=0", "Hub-Epoch", epoch).expect(503, "projection_lagging")
	const another = "0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"
	e.call("GET", path, "", "Hub-Min-Position", far, "Hub-Epoch", another).expect(409, "epoch_changed")
	e.call("GET", someEntity, "", "Hub-Min-Position", far, "Hub-Epoch", another).expect(409, "epoch_changed")
	e.call("GET", "/api/v1/entities", "", "Hub-Min-Position", far, "Hub-Epoch", "junk").expect(409, "epoch_changed")
	e.call("GET", path, "", append(after(receipt.Position), "Hub-Epoch", another)...).expect(409, "epoch_changed")
	missing := e.call("GET", someEntity, "", after(receipt.Position)...)
	missing.expect(404, "not_found")
	if missing.Header.Get("Hub-Position") == "" || missing.Header.Get("Hub-Epoch") != epoch {
		t.Errorf("what is not there is not there at a position: %v", missing.Header)
	}
}

// The log was restored to an earlier state, and went on differently: what was seen up to
// where the histories part is true still, and nobody waits for what was lost.
func TestPositionsOfALostHistoryAreRefused(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	e.defineCustomer()
	kept, _ := e.create(`{"type":"customer","attributes":{}}`)
	s.project(t)
	path := "/api/v1/entities/" + kept.ID
	old := e.call("GET", path, "", after(kept.Position)...).Header.Get("Hub-Epoch")

	relay := eventstore.New(hubtest.Pool(t, s.url, string(eventstore.RoleRelay)))
	forked, err := relay.Fork(t.Context(), eventstore.Loss{
		Epoch: uuid.MustParse(old), Published: eventstore.Published{Position: kept.Position + 100, Event: uuid.New()}, Common: kept.Position,
	})
	require.NoError(t, err)
	require.True(t, forked)
	since, _ := e.create(`{"type":"customer","attributes":{}}`)
	now := e.call("GET", path, "", after(since.Position)...)
	require.Equal(t, 200, now.Status)
	epoch := now.Header.Get("Hub-Epoch")
	require.NotEqual(t, old, epoch)

	require.Equal(t, 200, e.call("GET", path, "", append(after(kept.Position), "Hub-Epoch", old)...).Status)
	require.Equal(t, 200, e.call("GET", path, "", append(after(since.Position), "Hub-Epoch", epoch)...).Status)
	for _, position := range []int64{kept.Position + 1, since.Position, kept.Position + 100} {
		e.call("GET", path, "", append(after(position), "Hub-Epoch", old)...).expect(409, "epoch_changed")
	}

	// While a view of what was lost is built anew, nobody is shown it.
	_, err = hubtest.Pool(t, s.url, "").Exec(t.Context(), `UPDATE view_checkpoints SET lost = true WHERE schema LIKE 'entities%'`)
	require.NoError(t, err)
	for _, headers := range [][]string{nil, append(after(kept.Position), "Hub-Epoch", old), append(after(since.Position), "Prefer", "wait=0")} {
		e.call("GET", path, "", headers...).expect(503, "projection_lagging")
	}
}

func TestOtherOrganisationsSeeNothing(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{}}`)
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	e.call("GET", "/api/v1/entities/"+receipt.ID, "", after(receipt.Position)...).expect(404, "not_found")
	e.call("GET", "/api/v1/entity-types/customer", "").expect(404, "not_found")
	for _, path := range []string{"/api/v1/entities?status=all", "/api/v1/entity-types"} {
		if answer := e.call("GET", path, ""); answer.Status != 200 || !strings.Contains(string(answer.Body), `"items":[]`) {
			t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
		}
	}
}

// Two organisations with the same names for everything do not come into each other's way.
func TestOrganisationsDoNotCollide(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	acme, other := e.admin, e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	types := map[string]string{
		"person":  `{"data_subject":true,"sensitive":["iban"],"search":["name"]}`,
		"company": `{"search":["name"],"relationships":[{"kind":"owner","target":"company","acyclic":true}]}`,
	}
	ids := map[string]string{}
	for _, org := range []string{"acme", "other"} {
		e.admin = map[string]string{"acme": acme, "other": other}[org]
		var last commands.Receipt
		for kind, definition := range types {
			e.call("PUT", "/api/v1/entity-types/"+kind, definition).receipt()
			made, answer := e.create(`{"type":"`+kind+`","key":"1","attributes":{"name":"`+org+`","iban":"DE1"},"tags":["vip"]}`, "Idempotency-Key", "same-"+kind)
			if answer.Header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s is answered what another was", org)
			}
			e.call("POST", "/api/v1/entities", `{"type":"`+kind+`","key":"1","attributes":{}}`).expect(409, "key_taken")
			ids[org+kind], last = made.ID, made
		}
		for query, want := range map[string]int{"key=1": 2, "tag=vip": 2, "q=" + org: 2, "attr.name=" + org: 2, "attr.name[ne]=x&count=true": 2} {
			var page list
			e.call("GET", "/api/v1/entities?"+query, "", after(last.Position)...).json(&page)
			if len(page.Items) != want {
				t.Errorf("%s of %s: %v", query, org, page.Items)
			}
		}
	}
	for _, query := range []string{"q=acme", "attr.name=acme", "id=" + ids["acmecompany"]} {
		if found := e.call("GET", "/api/v1/entities?"+query, ""); !strings.Contains(string(found.Body), `"items":[]`) {
			t.Errorf("%s: %s", query, found.Body)
		}
	}
	e.relate(ids["othercompany"], "owner", ids["acmecompany"]).expect(422, "unknown_target")
	e.admin = acme
	cursor := e.call("GET", "/api/v1/entities?limit=1", "")
	var page list
	cursor.json(&page)
	e.admin = other
	e.call("GET", "/api/v1/entities?limit=1&cursor="+url.QueryEscape(*page.NextCursor), "").expect(400, "invalid_cursor")
}

// The front door without read tables of its own answers as the query API does.
func TestReadsThroughTheFrontDoor(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.project(t)
	query := newEdge(t, func(o *Options) { o.Loop, o.Reads = nil, s.reads })
	server := httptest.NewServer(query.api.QueryHandler())
	t.Cleanup(server.Close)
	front := newEdge(t, func(o *Options) {
		o.Verifier, o.Loop, o.Reads, o.QueryAPIURL = query.issuer.verifier, s.loop, nil, server.URL
	})
	front.admin = query.admin
	front.defineCustomer()
	receipt, _ := front.create(`{"type":"customer","attributes":{"a":1}}`)
	path := "/api/entities/" + receipt.ID + "/"
	through := front.call("GET", path, "", after(receipt.Position)...)
	direct := query.call("GET", path, "")
	if through.Status != 200 || string(through.Body) != string(direct.Body) {
		t.Errorf("%d %s and %d %s", through.Status, through.Body, direct.Status, direct.Body)
	}
	for _, name := range []string{"Etag", "Hub-Position", "Hub-Epoch", "Cache-Control", "Content-Type", "X-Content-Type-Options"} {
		if got, want := through.Header.Values(name), direct.Header.Values(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q and %q", name, got, want)
		}
	}
	if unchanged := front.call("GET", path, "", "If-None-Match", `"1"`); unchanged.Status != 304 {
		t.Errorf("%d", unchanged.Status)
	}
	front.call("GET", "/api/entities/?limit=0", "").expect(422, "invalid_request")
	front.call("GET", path, "", "Authorization", "").expect(401, "missing_token")
}

package httpapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
)

const (
	someID     = "0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"
	someEntity = "/api/v1/entities/" + someID
)

func TestWithoutAGoodToken(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	stranger := newIssuer(t).token(t, "admin")
	for _, test := range []struct{ name, authorization, code, challenge string }{
		{"none", "", "missing_token", `Bearer realm="hub-backend"`},
		{"another scheme", "Basic YTpi", "invalid_token", `error="invalid_token"`},
		{"no token", "Bearer", "invalid_token", `error="invalid_token"`},
		{"junk", "Bearer junk", "invalid_token", `error="invalid_token"`},
		{"a stranger's", "Bearer " + stranger, "invalid_token", `error="invalid_token"`},
		{"cut", "Bearer " + e.admin[:len(e.admin)-4], "invalid_token", `error="invalid_token"`},
	} {
		for _, method := range []string{"GET", "POST"} {
			answer := e.call(method, "/api/v1/entities", "", "Authorization", test.authorization)
			answer.expect(401, test.code)
			if got := answer.Header.Get("WWW-Authenticate"); !strings.Contains(got, test.challenge) {
				t.Errorf("%s: challenge %q", test.name, got)
			}
		}
	}
	twice := e.request("GET", "/api/v1/entities", "")
	twice.Header.Add("Authorization", "Bearer "+e.admin)
	serve(t, e.handler, twice).expect(401, "invalid_token")
	lower := e.call("POST", "/api/v1/entities", "{}", "Authorization", "bearer "+e.admin)
	lower.expect(422, "invalid_request")
}

func TestAnIssuerThatIsDownIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(o *Options) {
		o.Verifier = identity.NewVerifier(identity.Options{URL: "http://127.0.0.1:1", Audience: "hub-backend"})
	})
	answer := e.call("GET", "/api/v1/entities", "")
	answer.expect(503, "identity_unavailable")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	const entity = `{"type":"customer","attributes":{}}`
	for _, test := range []struct {
		role, method, path, body string
		status                   int
	}{
		{"viewer", "POST", "/api/v1/entities", entity, 403},
		{"viewer", "PATCH", someEntity, "{}", 503},
		{"auditor", "DELETE", someEntity, "", 403},
		{"auditor", "POST", someEntity + "/archive", "", 403},
		{"auditor", "PUT", someEntity + "/acl", "{}", 403},
		{"editor", "POST", "/api/v1/entities", entity, 503},
		{"editor", "PUT", "/api/v1/entity-types/customer", "{}", 403},
		{"admin", "PUT", "/api/v1/entity-types/customer", "{}", 503},
		{"nobody", "GET", someEntity, "", 403},
		{"viewer", "GET", "/api/v1/operations/views", "", 403},
		{"auditor", "GET", "/api/v1/operations/parked", "", 403},
		{"editor", "POST", "/api/v1/operations/views/entities/rebuild", "", 403},
		{"operator", "POST", "/api/v1/entities", entity, 403},
		{"nobody", "GET", "/api/v1/entity-types", "", 403},
	} {
		answer := e.call(test.method, test.path, test.body, "Authorization", "Bearer "+e.issuer.token(t, test.role))
		if answer.Status != test.status {
			t.Errorf("%s %s %s: status %d, want %d: %s", test.role, test.method, test.path, answer.Status, test.status, answer.Body)
		}
		if p := answer.problem(); test.status == 403 && p.Code != "forbidden" {
			t.Errorf("%s %s %s: code %s", test.role, test.method, test.path, p.Code)
		}
	}
	none := e.call("GET", someEntity, "", "Authorization", "Bearer "+e.issuer.token(t))
	none.expect(403, "forbidden")
}

// The loop of these tests takes nothing, so shutting_down is what is answered to a
// request that is well formed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	const entity = `{"type":"customer","attributes":{}}`
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"good", "POST", "/api/v1/entities", entity, nil, 503, "shutting_down"},
		{"no body", "POST", "/api/v1/entities", "", nil, 400, "invalid_json"},
		{"cut off", "POST", "/api/v1/entities", `{"type":"customer"`, nil, 400, "invalid_json"},
		{"two values", "POST", "/api/v1/entities", entity + entity, nil, 400, "invalid_json"},
		{"not JSON", "POST", "/api/v1/entities", "type=customer", nil, 400, "invalid_json"},
		{"an array", "POST", "/api/v1/entities", "[]", nil, 422, "invalid_request"},
		{"null", "POST", "/api/v1/entities", "null", nil, 422, "invalid_request"},
		{"a number", "POST", "/api/v1/entities", "7", nil, 422, "invalid_request"},
		{"deep nesting", "POST", "/api/v1/entities", strings.Repeat("[", 100_000), nil, 400, "too_deep"},
		{"deep objects", "POST", "/api/v1/entities", `{"type":"t","attributes":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1001), nil, 400, "too_deep"},
		{"NUL byte", "POST", "/api/v1/entities", "{\"type\":\"a\x00\",\"attributes\":{}}", nil, 400, "nul_byte"},
		{"NUL escape", "POST", "/api/v1/entities", `{"type":"a\u0000","attributes":{}}`, nil, 400, "nul_byte"},
		{"not UTF-8", "POST", "/api/v1/entities", "{\"type\":\"\xff\",\"attributes\":{}}", nil, 400, "invalid_utf8"},
		{"a name twice", "POST", "/api/v1/entities", `{"type":"a","type":"b","attributes":{}}`, nil, 400, "duplicate_name"},
		{"huge", "POST", "/api/v1/entities", `{"type":"` + strings.Repeat("a", eventBytes) + `"}`, nil, 413, "body_too_large"},
		{"number too large", "POST", "/api/v1/entities", `{"type":"t","attributes":{"a":1e999}}`, nil, 422, "number_out_of_range"},
		{"wrong types", "POST", "/api/v1/entities", `{"type":7,"attributes":[],"tags":"x"}`, nil, 422, "invalid_request"},
		{"null type", "POST", "/api/v1/entities", `{"type":null,"attributes":{}}`, nil, 422, "invalid_request"},
		{"empty key", "POST", "/api/v1/entities", `{"type":"t","key":"","attributes":{}}`, nil, 422, "invalid_request"},
		{"missing fields", "POST", "/api/v1/entities", `{}`, nil, 422, "invalid_request"},
		{"unknown field", "POST", "/api/v1/entities", `{"type":"t","attributes":{},"colour":"red"}`, nil, 422, "unknown_field"},
		{"wrong case", "POST", "/api/v1/entities", `{"Type":"t","attributes":{}}`, nil, 422, "unknown_field"},
		{"status is not input", "POST", "/api/v1/entities", `{"type":"t","attributes":{},"status":"archived"}`, nil, 422, "unknown_field"},
		{"form", "POST", "/api/v1/entities", entity, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
		{"merge patch on POST", "POST", "/api/v1/entities", entity, []string{"Content-Type", "application/merge-patch+json"}, 415, "unsupported_media_type"},
		{"charset", "POST", "/api/v1/entities", entity, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported_media_type"},
		{"junk media type", "POST", "/api/v1/entities", entity, []string{"Content-Type", ";;;"}, 415, "unsupported_media_type"},
		{"UTF-8 named", "POST", "/api/v1/entities", entity, []string{"Content-Type", "application/json; charset=UTF-8"}, 503, "shutting_down"},
		{"no media type", "POST", "/api/v1/entities", entity, []string{"Content-Type", ""}, 503, "shutting_down"},
		{"bad escape", "POST", "/api/v1/entities?a=%zz", entity, nil, 400, "invalid_query"},
		{"patch", "PATCH", someEntity, `{"tags":null,"attributes":{"a":null}}`, []string{"Content-Type", "application/merge-patch+json"}, 503, "shutting_down"},
		{"patch as JSON", "PATCH", someEntity, `{"attributes":null}`, nil, 503, "shutting_down"},
		{"patch of the key", "PATCH", someEntity, `{"key":"x"}`, nil, 422, "unknown_field"},
		{"patch with text", "PATCH", someEntity, `{}`, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"patch with a list", "PATCH", someEntity, `{"attributes":[1]}`, nil, 422, "invalid_request"},
		{"junk id", "PATCH", "/api/v1/entities/junk", `{}`, nil, 404, "not_found"},
		{"junk id in braces", "DELETE", "/api/v1/entities/%7B0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11%7D", "", nil, 404, "not_found"},
		{"long id", "POST", "/api/v1/entities/" + strings.Repeat("a", 20_000) + "/archive", "", nil, 404, "not_found"},
		{"NUL in the path", "DELETE", "/api/v1/entities/a%00b", "", nil, 400, "invalid_encoding"},
		{"broken UTF-8 in the path", "PUT", "/api/v1/entity-types/%ff", "{}", nil, 400, "invalid_encoding"},
		{"body where none is", "POST", someEntity + "/archive", `{"reason":"x"}`, nil, 422, "unknown_field"},
		{"junk where none is", "POST", someEntity + "/archive", `{`, nil, 400, "invalid_json"},
		{"empty object", "POST", someEntity + "/archive", ` {} `, nil, 503, "shutting_down"},
		{"never heard of", "PUT", "/api/v1/entity-types/t", `{"title":"T","sensitivity":1}`, nil, 422, "unknown_field"},
		{"key with a space", "POST", "/api/v1/entities", entity, []string{"Idempotency-Key", "a b"}, 400, "invalid_idempotency_key"},
		{"key too long", "POST", "/api/v1/entities", entity, []string{"Idempotency-Key", strings.Repeat("a", 256)}, 400, "invalid_idempotency_key"},
		{"longest key", "POST", "/api/v1/entities", entity, []string{"Idempotency-Key", strings.Repeat("a", 255)}, 503, "shutting_down"},
		{"bare version", "DELETE", someEntity, "", []string{"If-Match", "3"}, 400, "invalid_if_match"},
		{"several versions", "DELETE", someEntity, "", []string{"If-Match", `"3", "4"`}, 400, "invalid_if_match"},
		{"reason with a line", "DELETE", someEntity, "", []string{"Hub-Reason", "a\nb"}, 422, "invalid_reason"},
		{"reason not UTF-8", "DELETE", someEntity, "", []string{"Hub-Reason", "\xff"}, 422, "invalid_reason"},
		{"reason too long", "DELETE", someEntity, "", []string{"Hub-Reason", strings.Repeat("ä", 501)}, 422, "invalid_reason"},
		{"longest reason", "DELETE", someEntity, "", []string{"Hub-Reason", strings.Repeat("ä", 500)}, 503, "shutting_down"},
	} {
		answer := e.call(test.method, test.path, test.body, test.headers...)
		p := answer.problem()
		if answer.Status != test.status || p.Code != test.code {
			t.Errorf("%s: %d %s, want %d %s: %.300s", test.name, answer.Status, p.Code, test.status, test.code, answer.Body)
		}
	}
}

func TestABodyOfUnknownLengthIsBounded(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	r := e.request("POST", "/api/v1/entities", strings.Repeat(" ", eventBytes+1))
	r.ContentLength = -1
	serve(t, e.handler, r).expect(413, "body_too_large")
	whole := `{"type":"t","attributes":{"a":"` + strings.Repeat("a", eventBytes-34) + `"}}`
	exact := e.request("POST", "/api/v1/entities", whole)
	exact.ContentLength = -1
	if len(whole) != eventBytes {
		t.Fatalf("the body has %d bytes", len(whole))
	}
	serve(t, e.handler, exact).expect(503, "shutting_down")
	short := e.request("POST", "/api/v1/entities", `{"type":"t"`)
	short.Body = &brokenBody{}
	serve(t, e.handler, short).expect(400, "body_incomplete")
}

// brokenBody is a body whose sender goes away.
type brokenBody struct{}

func (*brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
func (*brokenBody) Close() error             { return nil }

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  time.Duration
	}{
		{nil, defaultWait},
		{[]string{"wait=0"}, 0},
		{[]string{"wait=12"}, 12 * time.Second},
		{[]string{`respond-async, Wait="7"; x=y`}, 7 * time.Second},
		{[]string{"return=minimal", "wait=3"}, 3 * time.Second},
		{[]string{"wait=31"}, maxWait},
		{[]string{"wait=4294967295"}, maxWait},
		{[]string{"wait=99999999999"}, defaultWait},
		{[]string{"wait=-1"}, defaultWait},
		{[]string{"wait"}, defaultWait},
	} {
		if got := preferredWait(test.lines); got != test.want {
			t.Errorf("%q: got %s, want %s", test.lines, got, test.want)
		}
	}
}

func TestRequestHashesTellRequestsApart(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	seen := map[string]string{}
	for _, test := range []struct {
		method, target, match, body string
	}{
		{"POST", "/api/v1/entities", "", "ab"},
		{"PUT", "/api/v1/entities", "", "ab"},
		{"POST", "/api/v1/entities?a", "", "b"},
		{"POST", "/api/v1/entities", "a", "b"},
		{"POST", "/api/v1/entities", "", "ab "},
		{"POST", "/api/v1/entitiesa", "", "b"},
	} {
		r := e.request(test.method, test.target, test.body, "If-Match", test.match)
		x := &exchange{request: r, body: []byte(test.body)}
		hash := string(e.api.requestHash(x))
		if other, taken := seen[hash]; taken || len(hash) != 32 {
			t.Errorf("%v and %s have one hash", test, other)
		}
		seen[hash] = test.method + test.target
	}
	other := newEdge(t, func(o *Options) { o.RequestHashKey = []byte("another") })
	r := e.request("POST", "/api/v1/entities", "ab")
	if _, taken := seen[string(other.api.requestHash(&exchange{request: r, body: []byte("ab")}))]; taken {
		t.Error("the hash does not depend on the key")
	}
}

// FuzzHandler sends anything anywhere: the answer is never a fault of ours, and
// always one that programs can read.
func FuzzHandler(f *testing.F) {
	e := newSystem(f)
	for _, seed := range []struct{ method, path, query, body, header string }{
		{"POST", "/api/v1/entities", "", `{"type":"t","attributes":{}}`, `"3"`},
		{"PATCH", someEntity, "", `{"attributes":{"a":null}}`, `W/"3"`},
		{"PUT", "/api/entity-types/x/", "", `{"title":"T","schema":{}}`, "*"},
		{"GET", "/api/v1/health", "a=b", "", ""},
		{"GET", "/api/v1/entities", "attr.a=1&sort=key&count=1&cursor=AAAA", "", `"1", W/"2"`},
		{"HEAD", "/api/entity-types/customer", "", "", "*"},
		{"POST", "/api/v1/entities", "", `{"type":"customer","key":"k","attributes":{"a":[1e308,{"$sealed":1}]},"tags":["t"]}`, "key"},
		{"DELETE", "/api/v1/entities/%00", "%zz", "\x00", "\xff"},
		{"OPTIONS", "/api/v1/entities//", "a;b", "[[[[", "a, b"},
		{"", "/", "", "{", ""},
		{"GET", "/api/v1/entity-types", "cursor", "", "n;W "},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.body, seed.header)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body, header string) {
		r := e.request("POST", "/", body)
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		for _, name := range []string{"If-Match", "If-None-Match", "Idempotency-Key", "Hub-Reason", "Hub-Epoch", "X-Request-Id", "Accept"} {
			r.Header[name] = []string{header}
		}
		answer := serve(t, e.handler, r)
		if answer.Status < 400 {
			return
		}
		if p := answer.problem(); answer.Status >= 500 {
			t.Errorf("%s %s?%s: %d %s, log: %s", method, path, query, answer.Status, p.Code, e.log)
		}
	})
}

// Many clients read an answer only when they have sent everything.
func TestARefusalReachesWhoSendsEverythingFirst(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(o *Options) { o.AllowedHosts = []string{"*"} })
	server := httptest.NewServer(e.handler)
	t.Cleanup(server.Close)
	length := "Content-Length: " + strconv.Itoa(8<<20) + "\r\n"
	chunked := "Transfer-Encoding: chunked\r\n"
	admin := "Authorization: Bearer " + e.admin + "\r\n"
	body := strings.Repeat(" ", 8<<20)
	for _, test := range []struct {
		request, headers string
		status           int
	}{
		{"POST /api/v1/entities", admin + length, 413},
		{"POST /api/v1/entities", admin + chunked, 413},
		{"POST /api/v1/entities", length, 401},
		{"POST /api/v1/nothing", length, 404},
		{"PUT /api/v1/entities", chunked, 405},
		{"POST /api/v1/entities?x=1", admin + length, 422},
	} {
		sent := body
		if strings.Contains(test.headers, chunked) {
			sent = "800000\r\n" + body + "\r\n0\r\n\r\n"
		}
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		if _, err := io.WriteString(connection, test.request+" HTTP/1.1\r\nHost: hub.test\r\nContent-Type: application/json\r\n"+test.headers+"\r\n"+sent); err != nil {
			t.Errorf("%s: %v", test.request, err)
			continue
		}
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Errorf("%s: %v", test.request, err)
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", test.request, answer.StatusCode, test.status)
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// overheard is a test whose processes' logs can be read.
type overheard struct {
	testing.TB
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *overheard) Output() io.Writer { return o }

func (o *overheard) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// What callers send is nowhere but in the log of events and in the answers that show it:
// not in logs at any level, not in traces, metrics, profiles or refusals.
func TestWhatCallersSendStaysInside(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	received, heard := hubtest.ReceiveTraces(t), &overheard{TB: t}
	h := newDevHub(heard)
	ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append(h.env, "HUB_OPS_ADDR="+ops, "HUB_LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT="+received.URL)
	h.start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	planted := map[string]string{
		"Cookie": "session=" + canary, "Idempotency-Key": canary, "Hub-Reason": canary, "Tracestate": "a=" + canary, "Baggage": "b=" + canary,
		"Traceparent": "00-" + callersTrace + "-" + callersSpan + "-01", "User-Agent": canary, "Referer": "http://" + canary, "X-Forwarded-For": canary,
	}
	h.send(http.MethodPost, "/api/v1/entities", token, planted, map[string]any{"type": "thing", "key": canary, "attributes": map[string]any{canary: canary}, "tags": []string{canary}})

	var refusals strings.Builder
	for n, c := range []struct {
		method, path, token string
		body                any
		header              string
		status              int
	}{
		{http.MethodGet, "/api/v1/entities/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/entity-types/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/entities?limit=" + canary, token, nil, "", 422},
		{http.MethodGet, "/api/v1/entities?cursor=" + canary, token, nil, "", 400},
		{http.MethodGet, "/api/v1/entities", canary + "." + canary + "." + canary, nil, "", 401},
		{http.MethodGet, "/api/v1/me?ticket=" + canary, token, nil, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": canary, "attributes": map[string]any{}}, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": canary}, "", 422},
		{http.MethodPost, "/api/v1/entities", token, canary, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "key": canary, "attributes": map[string]any{}}, "", 409},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": map[string]any{}}, "If-Match", 400},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": map[string]any{}}, "Content-Type", 415},
		{http.MethodGet, "/api/v1/entities", token, nil, "Hub-Min-Position", 400},
	} {
		header := map[string]string{"Cookie": "session=" + canary, "User-Agent": canary}
		if c.header != "" {
			header[c.header] = canary
		}
		response, answer, err := h.do(t.Context(), c.method, c.path, c.token, header, c.body)
		require.NoError(t, err)
		assert.Equal(t, c.status, response.StatusCode, "request %d: %s", n, answer)
		fmt.Fprintf(&refusals, "%d: %s %v\n", n, answer, response.Header)
	}
	operators := &hub{t: t, base: "http://" + ops}
	shown := map[string]string{"refusals": refusals.String()}
	for _, path := range []string{"/metrics", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		response, text, err := operators.do(t.Context(), http.MethodGet, path, "", nil, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		shown[path] = string(text)
	}
	received.Await(t, callersTrace, "POST /api/v1/entities", "command", "append", "publish HUB_EVENTS", "project entities")
	require.Equal(t, 0, h.terminate())
	shown["traces"], shown["logs"] = string(received.Bytes()), heard.text.String()
	require.Contains(t, shown["logs"], "route=/api/v1/entities")
	require.Contains(t, shown["/metrics"], "hub_trace_spans_total")
	require.Greater(t, len(received.Spans()), 20)
	hasNone(t, shown, canary, token)
}

// hasNone looks for secrets in what is shown, by where.
func hasNone(t *testing.T, shown map[string]string, secrets ...string) {
	t.Helper()
	for where, text := range shown {
		for line := range strings.Lines(text) {
			for _, secret := range secrets {
				assert.NotContains(t, line, secret, where)
			}
		}
	}
}

// failing is a hub whose dependencies a test takes away, with secrets in all their addresses.
type failing struct {
	*hub
	log, views, redis, nats *hubtest.Proxy
	issuer                  *faultyIssuer
	query                   *hub
	operators               []*hub
	canary                  string
	refusals                strings.Builder
	admin                   *pgxpool.Pool // of the views
}

func newFailing(t *testing.T, heard *overheard, canary, traces string) *failing {
	t.Helper()
	secret := func(url, user string) string {
		address, err := neturl.Parse(url)
		require.NoError(t, err)
		if name := address.User.Username(); name != "" {
			user = name
		}
		address.User = neturl.UserPassword(user, canary)
		return address.String()
	}
	log, views := hubtest.Database(t, hubtest.LogAndViews()), hubtest.Database(t, hubtest.LogAndViews())
	broker := hubtest.NATSProcess(t)
	f := &failing{
		log: hubtest.PostgresProxy(t, log), views: hubtest.PostgresProxy(t, views), redis: hubtest.Redis(t), nats: broker.Proxy,
		issuer: newFaultyIssuer(t), canary: canary, admin: hubtest.Pool(t, views, ""),
	}
	viewsURL := secret(f.views.Through(t, views), "")
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	shared := []string{
		"DATABASE_URL=" + secret(f.log.Through(t, log), ""), "PROJECTION_DATABASE_URL=" + viewsURL, "QUERY_DATABASE_URL=" + viewsURL,
		"NATS_URL=" + secret(broker.URL(), "hub"), "REDIS_URL=redis://default:" + canary + "@" + f.redis.Address(),
		"IDENTITY_SERVICE_URL=" + f.issuer.url, "SECRET_KEY=of-a-test-and-long-enough-" + canary, "HUB_DATA_DIR=" + t.TempDir(),
		"HUB_QUERY_ADDR=" + query, "QUERY_API_URL=http://" + query, "HUB_LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT=" + traces,
	}
	for _, roles := range [][]string{{"query-api"}, {"command-api", "relay", "projector", "reactor"}} {
		ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
		f.query, f.hub = f.hub, newServeHub(heard, append(shared, "HUB_OPS_ADDR="+ops), roles...)
		f.launch()
		f.operators = append(f.operators, &hub{t: t, base: "http://" + ops})
	}
	return f
}

// ask sends a request full of secrets and keeps the answer, which must have the code.
func (f *failing) ask(method, path, token string, body any, status int, code string) {
	f.t.Helper()
	response, answer, err := f.do(f.t.Context(), method, path, token, f.planted(), body)
	require.NoError(f.t, err)
	assert.Equal(f.t, status, response.StatusCode, "%s", answer)
	assert.Contains(f.t, string(answer), `"code":"`+code+`"`)
	fmt.Fprintf(&f.refusals, "%s %v\n", answer, response.Header)
}

func (f *failing) planted() map[string]string {
	return map[string]string{
		"Cookie": "session=" + f.canary, "User-Agent": f.canary, "Hub-Reason": f.canary, "Referer": "http://" + f.canary,
		"Idempotency-Key": f.canary + uuid.NewString(),
	}
}

func (f *failing) entity(key string) map[string]any {
	return map[string]any{"type": "thing", "key": key, "attributes": map[string]any{f.canary: f.canary}, "tags": []string{f.canary}}
}

// What callers send, and the passwords of everything, stay inside when databases, NATS,
// Redis, the issuer or the query API fail, too.
func TestSecretsStayInsideWhenThingsFail(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	received, heard := hubtest.ReceiveTraces(t), &overheard{TB: t}
	f := newFailing(t, heard, canary, received.URL)
	token, err := identity.RequestToken(t.Context(), f.issuer.url, identity.TokenRequest{Sub: canary, Org: "acme", Roles: []string{"admin"}})
	require.NoError(t, err)
	f.defineType(token, "thing")
	accepted := func(key string) {
		t.Helper()
		f.send(http.MethodPost, "/api/v1/entities", token, f.planted(), f.entity(key))
	}
	const list = "/api/v1/entities?type=" + canary + "&attr." + canary + "=" + canary

	f.redis.Refuse()
	f.redis.Cut()
	accepted(canary + "-redis")

	f.issuer.down.Store(true)
	foreign, err := identity.RequestToken(t.Context(), newIssuer(t), identity.TokenRequest{Sub: canary, Org: "acme", Roles: []string{"admin"}})
	require.NoError(t, err)
	f.ask(http.MethodPost, "/api/v1/entities", foreign, f.entity(canary), http.StatusServiceUnavailable, "identity_unavailable")
	f.issuer.down.Store(false)

	f.nats.Refuse()
	f.nats.Cut()
	accepted(canary + "-nats")

	f.views.Refuse()
	f.views.Cut()
	f.ask(http.MethodGet, list, token, nil, http.StatusServiceUnavailable, "views_unavailable")
	f.ask(http.MethodPost, "/api/v1/operations/views/entities/verify", token, nil, http.StatusServiceUnavailable, "views_unavailable")
	f.views.Calm()

	// The connection breaks when the log has written and not said so, and stays away.
	lost := f.log.LoseReply(hubtest.Executes("append_events("))
	waiting := f.begin(http.MethodPost, "/api/v1/entities", token, f.planted(), f.entity(canary+"-lost"))
	hubtest.Wait(t, startTimeout, "the reply to be lost", lost)
	f.log.Refuse()
	f.log.Cut()
	answer := hubtest.Wait(t, startTimeout, "the outcome to be unknown", waiting)
	require.NoError(t, answer.err)
	require.Equal(t, http.StatusGatewayTimeout, answer.status, "%s", answer.body)
	f.refusals.Write(answer.body)
	f.ask(http.MethodPost, "/api/v1/entities", token, f.entity(canary), http.StatusServiceUnavailable, "log_unavailable")
	f.ask(http.MethodGet, "/api/v1/events?tag=entity:"+canary, token, nil, http.StatusServiceUnavailable, "log_unavailable")
	f.log.Calm()
	f.nats.Calm()
	f.eventually("the log is back", func() bool {
		response, _, err := f.do(t.Context(), http.MethodPost, "/api/v1/entities", token, f.planted(), f.entity(canary+"-back"))
		return err == nil && (response.StatusCode == http.StatusCreated || response.StatusCode == http.StatusConflict)
	})

	// A view that refuses a row, of which PostgreSQL tells all values.
	_, err = f.admin.Exec(t.Context(), `ALTER TABLE entities_v1.entities ADD CONSTRAINT refused CHECK (key <> '`+canary+`-parked')`)
	require.NoError(t, err)
	accepted(canary + "-parked")
	var parked listOf[httpapi.ParkedStream]
	f.eventually("the stream is parked", func() bool {
		return f.get("/api/v1/operations/parked", token, nil, &parked) == http.StatusOK && len(parked.Items) == 1
	})
	_, err = f.admin.Exec(t.Context(), `REVOKE SELECT ON entities_v1.entities FROM hub_query`)
	require.NoError(t, err)
	f.ask(http.MethodGet, list, token, nil, http.StatusInternalServerError, "internal")

	shown := map[string]string{"refusals": "", "parked": fmt.Sprint(parked.Items)}
	for _, operators := range f.operators {
		for _, path := range []string{"/metrics", "/debug/pprof/goroutine?debug=2", "/readyz"} {
			response, text, err := operators.do(t.Context(), http.MethodGet, path, "", nil, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, response.StatusCode, path)
			shown[operators.base+path] = string(text)
		}
	}
	require.Equal(t, 0, f.query.terminate())
	f.ask(http.MethodGet, list, token, nil, http.StatusServiceUnavailable, "query_api_unavailable")
	require.Equal(t, 0, f.terminate())
	shown["refusals"], shown["traces"], shown["logs"] = f.refusals.String(), string(received.Bytes()), heard.text.String()
	for _, said := range []string{"Redis does not answer", "query API not reached", "request failed", "NATS is gone"} {
		require.Contains(t, shown["logs"], said)
	}
	hasNone(t, shown, canary, token, foreign)
}

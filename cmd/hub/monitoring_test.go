package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

// measured is a process that has every role, and what it tells Prometheus.
type measured struct {
	*hub
	system *system
	ops    *hub
}

func startMeasured(t *testing.T) measured {
	t.Helper()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	front, ops, issuer := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t)), newIssuer(t)
	cfg, err := config.Load(config.Serve(config.AllRoles()...), []string{
		"DATABASE_URL=" + hubtest.Database(t, hubtest.LogAndViews()), "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + issuer,
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_OPS_ADDR=" + ops, "HUB_LOG_LEVEL=error",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + hubtest.ReceiveTraces(t).URL,
		"HUB_HTTP_ADDR=" + front, fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)),
	})
	require.NoError(t, err)
	s := newSystem(cfg, config.AllRoles()...)
	s.secret = []byte(cfg.SecretKey.Reveal())
	s.nats, err = connectNATS(cfg, s.log)
	require.NoError(t, err)
	t.Cleanup(s.nats.Close)
	t.Cleanup(func() { assert.NoError(t, s.close()) })
	require.NoError(t, s.start(t.Context()))
	return measured{hub: &hub{t: t, base: "http://" + front, issuer: issuer}, system: s, ops: &hub{t: t, base: "http://" + ops}}
}

func (m measured) scrape() string {
	m.t.Helper()
	_, text, err := m.ops.do(m.t.Context(), http.MethodGet, "/metrics", "", nil, nil)
	require.NoError(m.t, err)
	return string(text)
}

// exposed are the names of all its metrics, and what it answers to Prometheus.
func (m measured) exposed() (names []string, scraped string) {
	m.t.Helper()
	names, scraped = m.system.metrics.Names(), m.scrape()
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(scraped, -1) {
		names = append(names, found[1])
	}
	return names, scraped
}

// metricOf is the metric that a series is of.
func metricOf(names []string, series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, cut := strings.CutSuffix(series, suffix); cut && slices.Contains(names, base) {
			return base
		}
	}
	return series
}

// expressions checks that each is one, and that every metric in it exists.
func expressions(t *testing.T, names []string, where string, all ...string) {
	t.Helper()
	for _, text := range all {
		expression, err := parser.ParseExpr(text)
		require.NoError(t, err, "%s: %s", where, text)
		found := 0
		parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			found++
			name := metricOf(names, selector.Name)
			assert.True(t, name == "up" || slices.Contains(names, name), "%s: there is no metric %s", where, selector.Name)
			return nil
		})
		assert.Positive(t, found, "%s names no metric: %s", where, text)
	}
}

// panel is one of the dashboard.
type panel struct {
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	text, err := os.ReadFile("../../docs/monitoring/dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.NotEmpty(t, dashboard.Panels)
	places := map[[2]int]string{}
	for _, one := range dashboard.Panels {
		require.NotEmpty(t, one.Targets, one.Title)
		at := [2]int{one.GridPos.X, one.GridPos.Y}
		assert.Empty(t, places[at], "%s is on another", one.Title)
		places[at] = one.Title
	}
	return dashboard.Panels
}

// alertTested is what docs/monitoring/alerts_test.yml shows of an alert; `make alerts` has
// promtool see whether it is so.
type alertTested struct{ fires, isSilent bool }

func alertTests(t *testing.T) map[string]alertTested {
	t.Helper()
	var file struct {
		Tests []struct {
			Rules []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	text, err := os.ReadFile("../../docs/monitoring/alerts_test.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &file))
	found := map[string]alertTested{}
	for _, test := range file.Tests {
		for _, rule := range test.Rules {
			of := found[rule.Name]
			of.fires, of.isSilent = of.fires || len(rule.Expected) > 0, of.isSilent || len(rule.Expected) == 0
			found[rule.Name] = of
		}
	}
	return found
}

// Whoever loads the dashboard and the alerts sees something: every metric in them exists,
// and every alert leads to a page that says what to do.
func TestDashboardAlertsAndRunbooksFit(t *testing.T) {
	t.Parallel()
	names, _ := startMeasured(t).exposed()
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			expressions(t, names, "the panel "+panel.Title, target.Expr)
		}
	}

	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	text, err := os.ReadFile("../../docs/monitoring/alerts.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &rules))
	index, err := os.ReadFile("../../docs/runbooks/README.md")
	require.NoError(t, err)
	tested := alertTests(t)
	used := map[string]bool{"README.md": true, "log-damaged.md": true}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			expressions(t, names, "the alert "+rule.Alert, rule.Expr)
			assert.Contains(t, []string{"page", "ticket"}, rule.Labels["severity"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			assert.True(t, tested[rule.Alert].fires && tested[rule.Alert].isSilent, "alerts_test.yml shows %s firing and silent", rule.Alert)
			page := rule.Annotations["runbook"]
			_, err := os.Stat("../../" + page)
			assert.NoError(t, err, "the runbook of %s", rule.Alert)
			used[path.Base(page)] = true
			assert.Regexp(t, `(?m)^\| \[[a-z-]+\]\(`+path.Base(page)+`\) \|.*\b`+rule.Alert+`\b`, string(index), "docs/runbooks/README.md on %s", rule.Alert)
		}
	}
	pages, err := os.ReadDir("../../docs/runbooks")
	require.NoError(t, err)
	for _, page := range pages {
		assert.True(t, used[page.Name()], "no alert leads to docs/runbooks/%s", page.Name())
	}
}

// Each part of the table in docs/operations.md has metrics for its four signals, those are
// exposed, and the page has all that is exposed.
func TestEveryPartHasItsFourSignals(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "### The four golden signals\n")
	require.True(t, found)
	section, _, found = strings.Cut(section, "\n## ")
	require.True(t, found)
	names, scraped := startMeasured(t).exposed()
	var shown strings.Builder
	for _, one := range panels(t) {
		for _, target := range one.Targets {
			fmt.Fprintln(&shown, target.Expr)
		}
	}
	told := map[string]bool{}
	parts := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if len(cells) < 2 || cells[0] == "part" || cells[0] == "metrics" {
			continue
		}
		if len(cells) == 5 {
			parts++
			for _, cell := range cells[1:] {
				first := regexp.MustCompile("^`([^`]+)`|^none: .").FindStringSubmatch(strings.TrimSpace(cell))
				if assert.NotNil(t, first, "a signal of %s: %s", cells[0], cell) {
					name, _, _ := strings.Cut(first[1], "{")
					assert.Contains(t, shown.String(), name, "the dashboard does not show %s of the %s", name, cells[0])
				}
			}
		}
		for _, quoted := range regexp.MustCompile("`(hub_[^`]+)`").FindAllStringSubmatch(line, -1) {
			told[signalled(t, names, scraped, quoted[1])] = true
		}
	}
	assert.GreaterOrEqual(t, parts, 16)
	for _, name := range names {
		assert.True(t, told[name] || !strings.HasPrefix(name, "hub_"), "the page does not tell of %s", name)
	}
}

// signalled checks that a process has series as a selector names them, and returns their metric.
func signalled(t *testing.T, names []string, scraped, text string) string {
	t.Helper()
	expression, err := parser.ParseExpr(text)
	require.NoError(t, err, text)
	selector, ok := expression.(*parser.VectorSelector)
	require.True(t, ok, text)
	name := metricOf(names, selector.Name)
	require.Contains(t, names, name)
	for _, matcher := range selector.LabelMatchers {
		if matcher.Name != "__name__" {
			assert.Regexp(t, `(?m)^`+selector.Name+`(_count)?\{.*\b`+matcher.Name+`="`+matcher.Value+`"`, scraped, text)
		}
	}
	return name
}

// What parts do shows in their signals.
func TestTheSignalsFollowWhatIsDone(t *testing.T) {
	t.Parallel()
	m := startMeasured(t)
	token := m.token("acme", "admin", "privacy")
	m.send(http.MethodPut, "/api/v1/entity-types/patient", token, nil, map[string]any{
		"title": "Patient", "schema": map[string]any{"type": "object"}, "data_subject": true, "sensitive": []string{"iban"},
	})
	following, leave := context.WithCancel(t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(following, http.MethodGet, m.base+"/api/v1/events/stream", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	stream, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = stream.Body.Close() }()

	created, _ := m.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "patient", "attributes": map[string]any{"iban": "DE1"}})
	require.Equal(t, http.StatusOK, m.get("/api/v1/entities/"+created.ID, token, after(created.Position), nil))
	require.Equal(t, http.StatusUnauthorized, m.get("/api/v1/me", "no.good.token", nil, nil))
	pool, err := m.system.openPool(t.Context(), "reports", m.system.cfg.QueryDatabaseURL, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "SELECT 1/0")
	require.Error(t, err)
	gone, away := context.WithCancel(t.Context())
	away()
	_, err = pool.Exec(gone, "SELECT 1")
	require.ErrorIs(t, err, context.Canceled)

	var scraped string
	for _, series := range []string{
		`hub_http_requests_total{route="POST /api/v1/entities",status="2xx"}`, `hub_loop_commands_total{outcome="accepted"}`, `hub_loop_events_total`,
		`hub_loop_turn_seconds_count{phase="append"}`, `hub_relay_published_total`, `hub_view_batch_events_sum{view="entities"}`,
		`hub_reactions_seconds_count{reaction="members"}`, `hub_database_round_trip_seconds_count{pool="queries"}`,
		`hub_database_round_trip_seconds_count{pool="clear"}`, `hub_event_tail_delay_seconds_count`, `hub_events_sent_total{by="stream"}`,
		`hub_event_streams_open`, `hub_limiter_requests_total{counted="process",decision="allowed"}`, `hub_limiter_callers`,
		`hub_identity_fetches_total{result="good"}`, `hub_identity_fetch_seconds_count`, `hub_identity_tokens_total{result="verified"}`,
		`hub_identity_tokens_total{result="known"}`, `hub_identity_tokens_total{result="refused"}`, `hub_keys_total{in="database"}`, `hub_keys_held`,
		`hub_trace_spans_total{result="exported"}`, `hub_http_connections_limit`,
	} {
		eventually(t, series+" is above zero", func() bool {
			m.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "patient", "attributes": map[string]any{}})
			scraped = m.scrape()
			return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` [0-9.e+]*[1-9]`).MatchString(scraped)
		})
	}
	assert.Contains(t, scraped, "\nhub_database_failures_total{pool=\"reports\"} 1\n", "who goes away is no failure")
	assert.Contains(t, scraped, "\nhub_identity_tokens_total{result=\"undetermined\"} 0\n")
}

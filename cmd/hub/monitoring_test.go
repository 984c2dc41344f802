package main

import (
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

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

// exposed are the names of all metrics of a process that has every role.
func exposed(t *testing.T) []string {
	t.Helper()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	cfg, err := config.Load(config.Serve(config.AllRoles()...), []string{
		"DATABASE_URL=" + hubtest.Database(t, hubtest.LogAndViews()), "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + newIssuer(t),
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_OPS_ADDR=" + ops, "HUB_LOG_LEVEL=error",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + hubtest.ReceiveTraces(t).URL,
		fmt.Sprintf("HUB_HTTP_ADDR=127.0.0.1:%d", hubtest.FreePort(t)), fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)),
	})
	require.NoError(t, err)
	s := newSystem(cfg, config.AllRoles()...)
	s.secret = []byte(cfg.SecretKey.Reveal())
	s.nats, err = connectNATS(cfg, s.log)
	require.NoError(t, err)
	t.Cleanup(s.nats.Close)
	t.Cleanup(func() { assert.NoError(t, s.close()) })
	require.NoError(t, s.start(t.Context()))
	names := s.metrics.Names()
	h := &hub{t: t, base: "http://" + ops}
	_, text, err := h.do(t.Context(), http.MethodGet, "/metrics", "", nil, nil)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
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
			name := selector.Name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); cut && slices.Contains(names, base) {
					name = base
				}
			}
			assert.True(t, name == "up" || slices.Contains(names, name), "%s: there is no metric %s", where, selector.Name)
			return nil
		})
		assert.Positive(t, found, "%s names no metric: %s", where, text)
	}
}

// Whoever loads the dashboard and the alerts sees something: every metric in them exists,
// and every alert leads to a page that says what to do.
func TestDashboardAlertsAndRunbooksFit(t *testing.T) {
	t.Parallel()
	names := exposed(t)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../docs/monitoring/dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.GreaterOrEqual(t, len(dashboard.Panels), 15)
	for _, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
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
	text, err = os.ReadFile("../../docs/monitoring/alerts.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &rules))
	index, err := os.ReadFile("../../docs/runbooks/README.md")
	require.NoError(t, err)
	used := map[string]bool{"README.md": true, "log-damaged.md": true}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			expressions(t, names, "the alert "+rule.Alert, rule.Expr)
			assert.Contains(t, []string{"page", "ticket"}, rule.Labels["severity"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
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

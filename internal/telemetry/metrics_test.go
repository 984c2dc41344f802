package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

func scrape(t *testing.T, r *telemetry.Registry) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	r.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, 200, recorder.Code)
	return recorder.Body.String()
}

func TestMetricsAreExposed(t *testing.T) {
	t.Parallel()
	r := telemetry.New("v1")
	r.Counter("hub_things_total", "Things.").Add(2)
	gauges := r.Gauges("hub_open", "Open.", telemetry.Label{Name: "kind", Values: []string{"a", "b"}})
	gauges.With("a").Set(3)
	gauges.With("a").Add(-1)
	gauges.With("user-supplied").Set(7)
	r.Histogram("hub_wait_seconds", "Waits.", telemetry.Seconds()).Observe(0.3)
	r.Histograms("hub_turn_commands", "Turns.", telemetry.Counts(), telemetry.Label{Name: "kind", Values: []string{"a"}}).With("a").Observe(5)
	r.Sample("hub_pool", "Pool.", func() float64 { return 9 }, telemetry.At{Name: "pool", Value: "x"})
	r.Sample("hub_pool", "Pool.", func() float64 { return 8 }, telemetry.At{Name: "pool", Value: "y"})

	text := scrape(t, r)
	for _, line := range []string{
		"hub_things_total 2\n", "hub_open{kind=\"a\"} 2\n", "hub_open{kind=\"other\"} 7\n",
		"hub_wait_seconds_bucket{le=\"0.2\"} 0\n", "hub_wait_seconds_bucket{le=\"0.5\"} 1\n", "hub_wait_seconds_count 1\n",
		"hub_turn_commands_bucket{kind=\"a\",le=\"8\"} 1\n",
		"hub_pool{pool=\"x\"} 9\n", "hub_pool{pool=\"y\"} 8\n", "hub_build_info{version=\"v1\"} 1\n",
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, "user-supplied")
	assert.Equal(t, []string{"hub_build_info", "hub_open", "hub_pool", "hub_things_total", "hub_turn_commands", "hub_wait_seconds"}, r.Names())
}

// What has few series has all of them from the start, so that the first failure is seen as
// an increase.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	r := telemetry.New("v1")
	r.Counters("hub_things_total", "Things.", telemetry.Label{Name: "kind", Values: []string{"a", "b"}}, telemetry.Label{Name: "result", Values: []string{"good", "failed"}})
	routes := telemetry.Label{Name: "route"}
	for n := range 101 {
		routes.Values = append(routes.Values, strconv.Itoa(n))
	}
	r.Counters("hub_many_total", "Many.", routes)
	text := scrape(t, r)
	assert.Contains(t, text, "hub_things_total{kind=\"b\",result=\"failed\"} 0\n")
	assert.Equal(t, 4, strings.Count(text, "\nhub_things_total{"))
	assert.NotContains(t, text, "hub_many_total")
}

// Two loops in one process count together.
func TestAMetricAskedForTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	r := telemetry.New("v1")
	r.Counter("hub_things_total", "Things.").Inc()
	r.Counter("hub_things_total", "Things.").Inc()
	assert.Contains(t, scrape(t, r), "hub_things_total 2\n")
	assert.Equal(t, 1, strings.Count(scrape(t, r), "# TYPE hub_things_total"))
}

func TestMistakesOfTheProgramAreLoud(t *testing.T) {
	t.Parallel()
	r := telemetry.New("v1")
	r.Counter("hub_things_total", "Things.")
	assert.Panics(t, func() { r.Gauge("hub_things_total", "Things.") })
	assert.Panics(t, func() { r.Counter("things", "No prefix.") })
	assert.Panics(t, func() { r.Counters("hub_more_total", "More.", telemetry.Label{Name: "kind"}).With() })
}

func TestWithoutARegistryNothingIsRecordedAndNothingAllocated(t *testing.T) { //nolint:paralleltest // it counts allocations
	var none *telemetry.Registry
	none.Sample("hub_pool", "Pool.", func() float64 { panic("asked") })
	counter, gauge, histogram := none.Counter("hub_a_total", ""), none.Gauge("hub_b", ""), none.Histogram("hub_c_seconds", "", nil)
	counters := none.Counters("hub_d_total", "", telemetry.Label{Name: "kind"})
	gauges, histograms := none.Gauges("hub_e", ""), none.Histograms("hub_f_seconds", "", nil)
	allocations := testing.AllocsPerRun(100, func() {
		counter.Inc()
		gauge.Set(1)
		gauge.Add(1)
		histogram.Observe(1)
		counters.With("a").Inc()
		gauges.With().Set(1)
		histograms.With().Observe(1)
	})
	assert.Zero(t, allocations)
}

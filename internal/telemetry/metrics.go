// Package telemetry is how every part of the system says what it does: metrics, for
// alerts and dashboards, and traces (trace.go), for what became of one request. A part takes a *Registry in its Options, asks it once for its
// metrics, and uses them; a nil Registry gives nil metrics, which record nowhere and
// cost nothing, so that tests and tools need none.
//
// Labels have a fixed list of values, given when the metric is made: what a request
// holds can never become a label, so the number of series is bounded and nothing
// private is exposed. A value outside the list counts as "other".
package telemetry

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// other stands for a label's values that were not announced.
const other = "other"

// Registry holds the metrics of one process.
type Registry struct {
	registry *prometheus.Registry

	mutex sync.Mutex
	names []string
}

// New makes a registry that already has the metrics of the Go runtime and of the
// process, and hub_build_info, whose label is the version.
func New(version string) *Registry {
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.Gauges("hub_build_info", "1, labelled with the version of the program.", Label{"version", []string{version}}).With(version).Set(1)
	return r
}

// Handler answers with all metrics, in the formats that Prometheus reads.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{})
}

// Names are the metrics that parts have made, sorted: what dashboards and alerts may
// use, whether or not anything was recorded yet.
func (r *Registry) Names() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.Sorted(slices.Values(r.names))
}

// Label is a label with all its values.
type Label struct {
	Name   string
	Values []string
}

// Counter only grows. Its name ends in _total.
type Counter struct{ counter prometheus.Counter }

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n, which is not negative.
func (c *Counter) Add(n float64) {
	if c != nil {
		c.counter.Add(n)
	}
}

// Gauge goes up and down.
type Gauge struct{ gauge prometheus.Gauge }

// Set replaces the value.
func (g *Gauge) Set(value float64) {
	if g != nil {
		g.gauge.Set(value)
	}
}

// Add changes the value by n.
func (g *Gauge) Add(n float64) {
	if g != nil {
		g.gauge.Add(n)
	}
}

// Histogram counts values by size. Its name ends in its unit: _seconds, _bytes, or a
// plural for things that are counted.
type Histogram struct{ histogram prometheus.Observer }

// Observe takes in one value.
func (h *Histogram) Observe(value float64) {
	if h != nil {
		h.histogram.Observe(value)
	}
}

// Seconds are bounds for times from a cached read to a wait of half a minute.
func Seconds() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .2, .5, 1, 2.5, 5, 10, 30}
}

// Counts are bounds for how many things were done at once.
func Counts() []float64 { return []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096} }

// Counter makes a counter without labels. Asked for again, every method here gives the
// metric that is there, so that two parts of one kind count together.
func (r *Registry) Counter(name, help string) *Counter { return r.Counters(name, help).With() }

// Gauge makes a gauge without labels.
func (r *Registry) Gauge(name, help string) *Gauge { return r.Gauges(name, help).With() }

// Histogram makes a histogram without labels; bounds are as of Seconds or Counts.
func (r *Registry) Histogram(name, help string, bounds []float64) *Histogram {
	return r.Histograms(name, help, bounds).With()
}

// Counters make a counter for each combination of their labels' values.
type Counters struct {
	labels labels
	vector *prometheus.CounterVec
}

// maxPrepared bounds the series that are there before anything is counted. It leaves out
// what has a series for each route and more.
const maxPrepared = 100

// Counters makes counters with labels. Unless they are very many all are there at once, at
// zero: to Prometheus the first failure is an increase only if there was a number before.
func (r *Registry) Counters(name, help string, of ...Label) *Counters {
	if r == nil {
		return nil
	}
	vector := register(r, name, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels(of).names()))
	for _, values := range labels(of).combinations(maxPrepared) {
		vector.WithLabelValues(values...)
	}
	return &Counters{of, vector}
}

// With is the counter for these values, in the order of the labels. Keep it: finding it
// costs more than counting.
func (c *Counters) With(values ...string) *Counter {
	if c == nil {
		return nil
	}
	return &Counter{c.vector.WithLabelValues(c.labels.known(values)...)}
}

// Gauges make a gauge for each combination of their labels' values.
type Gauges struct {
	labels labels
	vector *prometheus.GaugeVec
}

// Gauges makes gauges with labels.
func (r *Registry) Gauges(name, help string, of ...Label) *Gauges {
	if r == nil {
		return nil
	}
	vector := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels(of).names())
	return &Gauges{of, register(r, name, vector)}
}

// With is the gauge for these values.
func (g *Gauges) With(values ...string) *Gauge {
	if g == nil {
		return nil
	}
	return &Gauge{g.vector.WithLabelValues(g.labels.known(values)...)}
}

// Histograms make a histogram for each combination of their labels' values.
type Histograms struct {
	labels labels
	vector *prometheus.HistogramVec
}

// Histograms makes histograms with labels.
func (r *Registry) Histograms(name, help string, bounds []float64, of ...Label) *Histograms {
	if r == nil {
		return nil
	}
	vector := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels(of).names())
	return &Histograms{of, register(r, name, vector)}
}

// With is the histogram for these values.
func (h *Histograms) With(values ...string) *Histogram {
	if h == nil {
		return nil
	}
	return &Histogram{h.vector.WithLabelValues(h.labels.known(values)...)}
}

// At is one label with the value that a sampled series has.
type At struct{ Name, Value string }

// Sample makes a gauge that asks read whenever metrics are read: for what somebody
// counts already, as the length of a queue. Each series is made once; read must be
// quick and safe to call from anywhere.
func (r *Registry) Sample(name, help string, read func() float64, at ...At) {
	if r == nil {
		return
	}
	constant := prometheus.Labels{}
	for _, label := range at {
		constant[label.Name] = label.Value
	}
	r.note(name)
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: constant}, read))
}

// ours are the names that parts may use.
var ours = regexp.MustCompile(`^hub_[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func (r *Registry) note(name string) {
	if !ours.MatchString(name) {
		panic(fmt.Sprintf("telemetry: %q is no name for a metric: write it as hub_requests_total", name)) // the program is wrong, and every test that makes the part finds it
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
}

// register adds a collector, or finds the one that is there.
func register[C prometheus.Collector](r *Registry, name string, collector C) C {
	r.note(name)
	err := r.registry.Register(collector)
	if err == nil {
		return collector
	}
	if there, ok := err.(prometheus.AlreadyRegisteredError); ok { //nolint:errorlint // Register returns it bare
		if same, ok := there.ExistingCollector.(C); ok {
			return same
		}
	}
	panic(fmt.Sprintf("telemetry: %s is made twice, differently: %v", name, err)) // as in note
}

type labels []Label

func (l labels) names() []string {
	names := make([]string, len(l))
	for i, label := range l {
		names[i] = label.Name
	}
	return names
}

// known replaces values that are not in the lists.
func (l labels) known(values []string) []string {
	if len(values) != len(l) {
		panic(fmt.Sprintf("telemetry: %d values for %d labels", len(values), len(l))) // as in note
	}
	checked := make([]string, len(values))
	for i, value := range values {
		checked[i] = other
		if slices.Contains(l[i].Values, value) {
			checked[i] = value
		}
	}
	return checked
}

// combinations are those of all values, or none where there are more than most.
func (l labels) combinations(most int) [][]string {
	all := [][]string{{}}
	for _, label := range l {
		var longer [][]string
		for _, values := range all {
			for _, value := range label.Values {
				longer = append(longer, append(slices.Clone(values), value))
			}
		}
		if all = longer; len(all) > most {
			return nil
		}
	}
	return all
}

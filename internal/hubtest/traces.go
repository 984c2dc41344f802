package hubtest

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it was received.
type Span struct {
	Name string
	// Trace, ID and Parent are hexadecimal; Parent is "" at the top of a trace.
	Trace, ID, Parent string
	Kind              tracepb.Span_SpanKind
	// Failed is the message of a status that is an error.
	Failed     string
	Start, End time.Time
	// Attributes are the span's, Resource those of the process.
	Attributes, Resource map[string]string
}

// Traces is a receiver of OTLP over HTTP.
type Traces struct {
	// URL is what OTEL_EXPORTER_OTLP_ENDPOINT names.
	URL    string
	server *httptest.Server

	mu     sync.Mutex
	spans  []Span
	bodies [][]byte
	header http.Header
	// status is what it answers, and hold lets it answer when it is closed.
	status  int
	hold    chan struct{}
	asked   chan struct{}
	changed chan struct{}
}

// ReceiveTraces runs a receiver until the test ends.
func ReceiveTraces(tb testing.TB) *Traces {
	tb.Helper()
	r := newTraces()
	r.server = httptest.NewServer(r)
	r.URL = r.server.URL
	tb.Cleanup(r.close)
	return r
}

// ReceiveTracesByTLS is ReceiveTraces with a certificate of nobody's; it comes as PEM.
func ReceiveTracesByTLS(tb testing.TB) (r *Traces, certificate []byte) {
	tb.Helper()
	r = newTraces()
	r.server = httptest.NewTLSServer(r)
	r.URL = r.server.URL
	tb.Cleanup(r.close)
	return r, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
}

func newTraces() *Traces {
	return &Traces{status: http.StatusOK, asked: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (r *Traces) close() {
	r.Answer(http.StatusOK)
	r.server.Close()
}

// Answer makes it answer a status from now on; what it holds back it answers, too.
func (r *Traces) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
	if r.hold != nil {
		close(r.hold)
		r.hold = nil
	}
}

// Hold makes it take exports and answer none until Answer.
func (r *Traces) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold == nil {
		r.hold = make(chan struct{})
	}
}

// Asked gets a value when an export has come, whatever it is answered.
func (r *Traces) Asked() <-chan struct{} { return r.asked }

// ServeHTTP takes one export.
func (r *Traces) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the other side has gone
	}
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	select {
	case r.asked <- struct{}{}:
	default:
	}
	if hold != nil {
		<-hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.status
	if status == http.StatusOK {
		status = r.take(request, body)
	}
	w.WriteHeader(status)
}

// take keeps what is a proper export.
func (r *Traces) take(request *http.Request, body []byte) (status int) {
	var data tracepb.TracesData
	if request.Method != http.MethodPost || request.URL.Path != "/v1/traces" || request.Header.Get("Content-Type") != "application/x-protobuf" {
		return http.StatusNotFound
	}
	if err := proto.Unmarshal(body, &data); err != nil {
		return http.StatusBadRequest
	}
	r.bodies, r.header = append(r.bodies, body), request.Header.Clone()
	for _, of := range data.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				r.spans = append(r.spans, Span{
					Name: span.GetName(), Trace: hex.EncodeToString(span.GetTraceId()), ID: hex.EncodeToString(span.GetSpanId()),
					Parent: hex.EncodeToString(span.GetParentSpanId()), Kind: span.GetKind(), Failed: failure(span.GetStatus()),
					Start: time.Unix(0, int64(span.GetStartTimeUnixNano())), End: time.Unix(0, int64(span.GetEndTimeUnixNano())), //nolint:gosec // of our days
					Attributes: attributes(span.GetAttributes()), Resource: attributes(of.GetResource().GetAttributes()),
				})
			}
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return http.StatusOK
}

func failure(status *tracepb.Status) string {
	if status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		return ""
	}
	return status.GetMessage()
}

func attributes(pairs []*commonpb.KeyValue) map[string]string {
	found := map[string]string{}
	for _, pair := range pairs {
		switch value := pair.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			found[pair.GetKey()] = value.StringValue
		case *commonpb.AnyValue_IntValue:
			found[pair.GetKey()] = fmt.Sprint(value.IntValue)
		default:
			found[pair.GetKey()] = pair.GetValue().String()
		}
	}
	return found
}

// Spans are those received so far.
func (r *Traces) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Header is that of the last export that was taken.
func (r *Traces) Header() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.header
}

// Bytes are all exports that were taken, as they came.
func (r *Traces) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.bodies...)
}

// Await returns the spans of a trace as soon as they have the names, in any order and
// with others among them.
func (r *Traces) Await(tb testing.TB, trace string, names ...string) []Span {
	tb.Helper()
	waited := time.After(time.Minute)
	for {
		r.mu.Lock()
		changed := r.changed
		var found []Span
		have := map[string]bool{}
		for _, span := range r.spans {
			if span.Trace == trace {
				found = append(found, span)
				have[span.Name] = true
			}
		}
		r.mu.Unlock()
		if !slices.ContainsFunc(names, func(name string) bool { return !have[name] }) {
			return found
		}
		select {
		case <-changed:
		case <-waited:
			tb.Fatalf("waited in vain for spans of trace %s: want %q, have %v", trace, names, have)
		}
	}
}

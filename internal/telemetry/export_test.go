package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// some starts and ends spans.
func some(tracer *telemetry.Tracer, count int) {
	for range count {
		_, span := tracer.Start(context.Background(), telemetry.Internal, "work")
		span.End()
	}
}

// became reads what became of spans.
func became(t *testing.T, registry *telemetry.Registry) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, m := range regexp.MustCompile(`hub_trace_spans_total\{result="(\w+)"\} (\d+)`).FindAllStringSubmatch(scrape(t, registry), -1) {
		count, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		found[m[1]] = count
	}
	return found
}

// A receiver that hangs holds nobody up: what does not fit the queue is dropped and
// counted, and nothing is counted twice or not at all.
func TestAReceiverThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	received, registry := hubtest.ReceiveTraces(t), telemetry.New("v1")
	received.Hold()
	tracer := newTracer(t, received, func(o *telemetry.TracerOptions) { o.Metrics = registry })
	some(tracer, 1)
	hubtest.Wait(t, time.Minute, "an export", received.Asked())
	// Whoever works here would wait for ever if a span made anybody wait.
	const count = 10_000
	some(tracer, count)
	dropped := became(t, registry)["dropped"]
	assert.Positive(t, dropped)
	received.Answer(http.StatusOK)
	require.NoError(t, tracer.Close(t.Context()))
	assert.Equal(t, map[string]int{"exported": count + 1 - dropped, "dropped": dropped, "failed": 0}, became(t, registry))
	assert.Len(t, received.Spans(), count+1-dropped)
}

// After an outage what still waits is sent; the log has a line for its beginning and one
// for its end.
func TestAReceiverThatComesBack(t *testing.T) {
	t.Parallel()
	received, registry, log := hubtest.ReceiveTraces(t), telemetry.New("v1"), new(lines)
	received.Answer(http.StatusServiceUnavailable)
	tracer := newTracer(t, received, func(o *telemetry.TracerOptions) {
		o.Metrics, o.Log = registry, slog.New(slog.NewTextHandler(log, nil))
	})
	some(tracer, 3)
	hubtest.Wait(t, time.Minute, "an export", received.Asked())
	received.Answer(http.StatusOK)
	require.NoError(t, tracer.Close(t.Context()))
	assert.Equal(t, map[string]int{"exported": 3, "dropped": 0, "failed": 0}, became(t, registry))
	assert.Regexp(t, `^.*level=WARN msg="traces cannot be sent.*\n.*level=INFO msg="traces are sent again"\n$`, log.String())
}

// What will never be taken is not sent again, and the headers of one receiver are never
// sent to another.
func TestAReceiverThatRefuses(t *testing.T) {
	t.Parallel()
	elsewhere := hubtest.ReceiveTraces(t)
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusTemporaryRedirect} {
		asked := make(chan string, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Header.Get("Api-Key")
			w.Header().Set("Location", elsewhere.URL+"/v1/traces")
			w.WriteHeader(status)
		}))
		defer server.Close()
		registry := telemetry.New("v1")
		tracer := newTracer(t, elsewhere, func(o *telemetry.TracerOptions) {
			o.Endpoint, o.Metrics, o.Headers = server.URL+"/", registry, map[string]string{"Api-Key": "k"}
		})
		some(tracer, 2)
		require.NoError(t, tracer.Close(t.Context()))
		assert.Equal(t, map[string]int{"exported": 0, "dropped": 0, "failed": 2}, became(t, registry))
		assert.Equal(t, "k", hubtest.Wait(t, time.Minute, "an export", asked))
		hubtest.Silent(t, "it was sent again", asked)
	}
	assert.Empty(t, elsewhere.Spans())
}

func TestTheReceiversCertificateIsChecked(t *testing.T) {
	t.Parallel()
	received, certificate := hubtest.ReceiveTracesByTLS(t)
	registry := telemetry.New("v1")
	trusting := newTracer(t, received, func(o *telemetry.TracerOptions) {
		o.Metrics, o.RootCAs, o.Headers = registry, certificate, map[string]string{"Api-Key": "k"}
	})
	some(trusting, 1)
	require.NoError(t, trusting.Close(t.Context()))
	assert.Equal(t, 1, became(t, registry)["exported"])
	assert.Equal(t, "k", received.Header().Get("Api-Key"))

	doubting := newTracer(t, received, func(o *telemetry.TracerOptions) { o.Metrics = telemetry.New("v1") })
	some(doubting, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, doubting.Close(ctx), context.DeadlineExceeded, "it tries for a while, and a process that stops does not wait for that")
	assert.Len(t, received.Spans(), 1)
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

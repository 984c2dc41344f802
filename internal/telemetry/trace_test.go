package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	callersTrace  = "0af7651916cd43dd8448eb211c80319c"
	callersSpan   = "b7ad6b7169203331"
	callersHeader = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// newTracer records everything unless change says otherwise.
func newTracer(t testing.TB, to *hubtest.Traces, change ...func(*telemetry.TracerOptions)) *telemetry.Tracer {
	t.Helper()
	options := telemetry.TracerOptions{Endpoint: to.URL, Ratio: 1, Service: "hub-backend", Version: "v1", Roles: []string{"relay", "projector"}}
	for _, set := range change {
		set(&options)
	}
	tracer := telemetry.NewTracer(options)
	t.Cleanup(func() { _ = tracer.Close(context.WithoutCancel(t.Context())) }) // a test may have done so
	return tracer
}

func request(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, value := range header {
		r.Header.Add("Traceparent", value)
	}
	return r
}

// All that follows from a request is found in its trace, by nothing but what is in the
// event that it led to.
func TestWhatFollowsFromARequestIsOneTrace(t *testing.T) {
	t.Parallel()
	received := hubtest.ReceiveTraces(t)
	edge, elsewhere := newTracer(t, received), newTracer(t, received)
	command, correlation := uuid.Must(uuid.NewV7()), callersTrace

	ctx, span := edge.Request(request(callersHeader))
	require.True(t, span.Recorded())
	require.Equal(t, correlation, telemetry.TraceID(ctx))
	within, commandSpan := edge.Command(ctx, correlation, command)
	began := time.Now()
	edge.Past(within, "append", began.Add(-time.Second), began)
	commandSpan.Text("hub.command.outcome", "accepted")
	commandSpan.End()
	span.Rename("POST /things")
	span.Number("http.response.status_code", 500)
	span.Fail("internal")
	span.End()

	_, relayed := elsewhere.Follow(t.Context(), telemetry.Cause{Correlation: correlation, Command: command, At: time.Now()}, telemetry.Producer, "publish")
	relayed.End()
	// A command that nobody asked for with a context, as that of a timer.
	_, later := elsewhere.Command(t.Context(), correlation, uuid.Must(uuid.NewV7()))
	later.End()
	require.NoError(t, edge.Close(t.Context()))
	require.NoError(t, elsewhere.Close(t.Context()))

	byName := map[string]hubtest.Span{}
	for _, s := range received.Spans() {
		assert.Equal(t, correlation, s.Trace, s.Name)
		byName[s.Name+"/"+s.Parent] = s
	}
	require.Len(t, byName, 5)
	top, mine := byName["POST /things/"+callersSpan], hexOf(command)
	assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, top.Kind)
	assert.Equal(t, "internal", top.Failed)
	assert.Equal(t, map[string]string{"http.response.status_code": "500", "error.type": "internal"}, top.Attributes)
	assert.Equal(t, "hub-backend", top.Resource["service.name"])
	assert.Equal(t, "v1", top.Resource["service.version"])
	assert.Contains(t, top.Resource["hub.roles"], "projector")
	assert.Equal(t, mine, byName["command/"+top.ID].ID, "the span of a command is known by its id")
	assert.Equal(t, time.Second, byName["append/"+mine].End.Sub(byName["append/"+mine].Start).Round(time.Millisecond))
	assert.Equal(t, tracepb.Span_SPAN_KIND_PRODUCER, byName["publish/"+mine].Kind)
	assert.Contains(t, byName, "command/")
}

func hexOf(command uuid.UUID) string { return strings.ReplaceAll(command.String(), "-", "")[16:] }

func TestOnlyAProperTraceparentIsTakenOver(t *testing.T) {
	t.Parallel()
	tracer := newTracer(t, hubtest.ReceiveTraces(t))
	for _, c := range []struct {
		header string
		taken  bool
	}{
		{callersHeader, true},
		{strings.TrimSuffix(callersHeader, "01") + "00", true}, // the caller's wish is not asked for
		{"01" + callersHeader[2:] + "-of-a-later-version", true},
		{"", false},
		{"00", false},
		{callersHeader + "-more", false},
		{"01" + callersHeader[2:] + "more", false},
		{"ff" + callersHeader[2:], false},
		{strings.ToUpper(callersHeader), false},
		{strings.Replace(callersHeader, callersTrace, strings.Repeat("0", 32), 1), false},
		{strings.Replace(callersHeader, callersSpan, strings.Repeat("0", 16), 1), false},
		{strings.Replace(callersHeader, callersSpan, "b7ad6b716920333g", 1), false},
		{strings.TrimSuffix(callersHeader, "1") + "x", false},
		{strings.ReplaceAll(callersHeader, "-", "_"), false},
	} {
		ctx, span := tracer.Request(request(c.header))
		require.True(t, span.Recorded())
		assert.Equal(t, c.taken, telemetry.TraceID(ctx) == callersTrace, c.header)
		assert.Len(t, telemetry.TraceID(ctx), 32)
	}
	ctx, _ := tracer.Request(request(callersHeader, callersHeader))
	assert.NotEqual(t, callersTrace, telemetry.TraceID(ctx), "two of them")
}

func FuzzTraceparent(f *testing.F) {
	tracer := newTracer(f, hubtest.ReceiveTraces(f), func(o *telemetry.TracerOptions) { o.Ratio = 0 })
	proper := regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$`)
	f.Add(callersHeader)
	f.Add("01" + callersHeader[2:] + "-x")
	f.Add(callersHeader[:40])
	f.Fuzz(func(t *testing.T, header string) {
		ctx, _ := tracer.Request(request(header))
		id := telemetry.TraceID(ctx)
		require.Regexp(t, `^[0-9a-f]{32}$`, id)
		if found := proper.FindStringSubmatch(header); found == nil {
			assert.NotContains(t, header, id)
		}
	})
}

// Whether a trace is recorded follows from its id, so that every process decides alike and
// no caller decides.
func TestAShareOfTracesIsRecorded(t *testing.T) {
	t.Parallel()
	half := func(o *telemetry.TracerOptions) { o.Ratio = 0.5 }
	received := hubtest.ReceiveTraces(t)
	edge, elsewhere := newTracer(t, received, half), newTracer(t, received, half)
	const count = 1000
	recorded := 0
	for range count {
		ctx, span := edge.Request(request())
		id := telemetry.TraceID(ctx)
		_, again := edge.Request(request("00-" + id + "-" + callersSpan + "-01"))
		_, follows := elsewhere.Follow(t.Context(), telemetry.Cause{Correlation: id, Command: uuid.New(), At: time.Now()}, telemetry.Consumer, "project")
		require.Equal(t, span.Recorded(), again.Recorded())
		require.Equal(t, span.Recorded(), follows.Recorded())
		if span.Recorded() {
			recorded++
		}
	}
	assert.InDelta(t, count/2, recorded, count/5)

	none := newTracer(t, received, func(o *telemetry.TracerOptions) { o.Ratio = 0 })
	ctx, span := none.Request(request(callersHeader))
	assert.False(t, span.Recorded())
	assert.Equal(t, callersTrace, telemetry.TraceID(ctx), "what is not recorded belongs together all the same")
}

func TestWhatBelongsToNoTraceIsNotRecorded(t *testing.T) {
	t.Parallel()
	tracer := newTracer(t, hubtest.ReceiveTraces(t))
	now, command := time.Now(), uuid.New()
	for what, cause := range map[string]telemetry.Cause{
		"a request id":   {Correlation: uuid.NewString(), Command: command, At: now},
		"nothing":        {Command: command, At: now},
		"capitals":       {Correlation: strings.ToUpper(callersTrace), Command: command, At: now},
		"zeros":          {Correlation: strings.Repeat("0", 32), Command: command, At: now},
		"an old event":   {Correlation: callersTrace, Command: command, At: now.Add(-2 * time.Hour)},
		"no time at all": {Correlation: callersTrace, Command: command},
	} {
		_, span := tracer.Follow(t.Context(), cause, telemetry.Consumer, "project")
		assert.False(t, span.Recorded(), what)
	}
	_, span := tracer.Command(t.Context(), "of-somebody", command)
	assert.False(t, span.Recorded())
}

// Other services get our span, and nothing that a caller of ours has sent along.
func TestRequestsThatGoOutSayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	received := hubtest.ReceiveTraces(t)
	tracer := newTracer(t, received)
	sent := make(chan http.Header, 2)
	status := http.StatusOK
	client := &http.Client{Transport: tracer.Transport("fetch keys", roundTrip(func(r *http.Request) (*http.Response, error) {
		sent <- r.Header
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(""))}, nil
	}))}
	outgoing, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://issuer/keys?secret", nil)
	require.NoError(t, err)
	outgoing.Header.Set("Baggage", "of=a-caller")
	outgoing.Header.Set("Tracestate", "of=a-caller")
	for _, status = range []int{http.StatusOK, http.StatusNotFound} {
		response, err := client.Do(outgoing)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.NoError(t, tracer.Close(t.Context()))
	spans := received.Spans()
	require.Len(t, spans, 2)
	header := hubtest.Wait(t, time.Minute, "a request", sent)
	assert.Equal(t, http.Header{"Traceparent": {"00-" + spans[0].Trace + "-" + spans[0].ID + "-01"}}, header)
	assert.Equal(t, "fetch keys", spans[0].Name)
	assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, spans[0].Kind)
	assert.Equal(t, "refused", spans[1].Failed)
	assert.NotContains(t, string(received.Bytes()), "secret")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// With no receiver to send to there is nothing: no ids, no allocations.
func TestWithoutATracerNothingIsRecordedAndNothingAllocated(t *testing.T) { //nolint:paralleltest // it counts allocations
	tracer := telemetry.NewTracer(telemetry.TracerOptions{Ratio: 1})
	require.Nil(t, tracer)
	require.NoError(t, tracer.Close(t.Context()))
	r := request(callersHeader)
	require.Equal(t, http.DefaultTransport, tracer.Transport("x", http.DefaultTransport))
	command := uuid.New()
	assert.Zero(t, testing.AllocsPerRun(100, func() { passThrough(tracer, r, command) }))
}

// passThrough is what tracing does on the way of one command.
func passThrough(tracer *telemetry.Tracer, r *http.Request, command uuid.UUID) {
	ctx, span := tracer.Request(r)
	correlation := telemetry.TraceID(ctx)
	within, commandSpan := tracer.Command(ctx, correlation, command)
	now := time.Now()
	if commandSpan.Recorded() {
		tracer.Past(within, "append", now, now)
	}
	commandSpan.Text("hub.command.outcome", "accepted")
	commandSpan.End()
	for range 4 { // the relay and some views
		_, follows := tracer.Follow(r.Context(), telemetry.Cause{Correlation: correlation, Command: command, At: now}, telemetry.Consumer, "project")
		follows.Number("hub.position", 1)
		follows.EndAt(now)
	}
	span.Rename("POST /things")
	span.End()
}

func BenchmarkTracing(b *testing.B) {
	r, command := request(), uuid.New()
	bench := func(tracer *telemetry.Tracer) func(*testing.B) {
		return func(b *testing.B) {
			b.Helper()
			b.ReportAllocs()
			for b.Loop() {
				passThrough(tracer, r, command)
			}
		}
	}
	received := hubtest.ReceiveTraces(b)
	received.Hold() // its own work is not measured, for most spans are dropped
	b.Run("off", bench(nil))
	b.Run("not-recorded", bench(newTracer(b, received, func(o *telemetry.TracerOptions) { o.Ratio = 0 })))
	b.Run("recorded", bench(newTracer(b, received)))
}

package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A trace is what follows from one request: the command, the append, the copy in
// JetStream, the views, the reactions and their commands in turn, in whichever process.
// Nothing is stored for that. The correlation id of events is the id of their trace, and
// the span of a command has the last half of the command's id as its own. So whoever has
// an event knows where in which trace its own work belongs, and whether the trace is
// recorded at all, which follows from its id.
//
// A nil *Tracer starts no spans and costs nothing.

const (
	// followed is the age up to which what is done with an event belongs to its trace.
	// Nobody looks at older ones, and a view that reads the whole log would send all of
	// them again.
	followed = time.Hour
	// maxAttributes and maxTextBytes bound a span; ours have about six, all short.
	maxAttributes = 32
	maxTextBytes  = 256
)

// TracerOptions say where spans are sent.
type TracerOptions struct {
	// Endpoint is the base URL of an OTLP/HTTP receiver; empty for none.
	Endpoint string
	// Headers are sent with every export; they may be secrets.
	Headers map[string]string
	// RootCAs, as PEM, are trusted instead of the system's.
	RootCAs []byte
	// Ratio is the share of traces that are recorded, from 0 to 1.
	Ratio float64
	// Service and Version name this program, and Roles what this process does of it.
	Service, Version string
	Roles            []string
	// Log is told when spans cannot be sent, and when they can again; nil is silent.
	Log *slog.Logger
	// Metrics gets what becomes of spans; nil counts nowhere.
	Metrics *Registry
}

// Tracer starts spans and sends them in the background.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sampler  sdktrace.Sampler
}

// NewTracer makes a tracer; nil without an endpoint. Close it.
func NewTracer(o TracerOptions) *Tracer {
	if o.Endpoint == "" {
		return nil
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// What the library has to say otherwise goes to the standard log.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("traces: the library reports", "error", err) }))
	t := &Tracer{sampler: sdktrace.TraceIDRatioBased(o.Ratio)}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeCountLimit, limits.AttributeValueLengthLimit = maxAttributes, maxTextBytes
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(t.sampler), sdktrace.WithIDGenerator(ids{}), sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(newExport(otlptrace.NewUnstarted(newReceiver(o)), o.Log, o.Metrics)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.Service), attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", uuid.NewString()), attribute.StringSlice("hub.roles", o.Roles))),
	)
	t.tracer = t.provider.Tracer("github.com/reactdjango-hub/backend")
	return t
}

// Close sends what waits, for as long as the context lasts.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx))
}

// Span is something that is being done. The zero Span is one that is not recorded. What
// is set on it must come from the program: never a text that a request or an event holds.
type Span struct{ span trace.Span }

// Text sets an attribute.
func (s Span) Text(name, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Number sets an attribute.
func (s Span) Number(name string, value int64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(name, value))
	}
}

// Rename replaces the name.
func (s Span) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Fail says that it failed, and why by a code.
func (s Span) Fail(code string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, code)
		s.span.SetAttributes(attribute.String("error.type", code))
	}
}

// End ends it now. A Span that was ended takes nothing more.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// EndAt ends it at a time.
func (s Span) EndAt(at time.Time) {
	if s.span != nil {
		s.span.End(trace.WithTimestamp(at))
	}
}

// Recorded reports whether anybody will see it: whether it is worth to compute what is
// set on it.
func (s Span) Recorded() bool { return s.span != nil }

// Kind is what a span is to the other side of it.
type Kind = trace.SpanKind

// The kinds of spans, as OpenTelemetry names them.
const (
	Internal = trace.SpanKindInternal
	Server   = trace.SpanKindServer
	Client   = trace.SpanKindClient
	Producer = trace.SpanKindProducer
	Consumer = trace.SpanKindConsumer
)

// Start begins a span below the one of the context, or a trace.
func (t *Tracer) Start(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.start(ctx, ctx, name, trace.WithSpanKind(kind))
}

// start gives the new span to within, whose values it may need to have from from.
func (t *Tracer) start(within, from context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	_, span := t.tracer.Start(from, name, options...)
	ctx := trace.ContextWithSpan(within, span)
	if !span.IsRecording() {
		return ctx, Span{}
	}
	return ctx, Span{span}
}

// Past records what has been done below the span of the context.
func (t *Tracer) Past(ctx context.Context, name string, from, to time.Time) {
	if t == nil {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// Request begins the span of a request that came in. Of what the caller sends along,
// the trace's id is taken over and the span that is above ours; whether to record is
// decided here, by the id.
func (t *Tracer) Request(r *http.Request) (context.Context, Span) {
	if t == nil {
		return r.Context(), Span{}
	}
	ctx := r.Context()
	if lines := r.Header["Traceparent"]; len(lines) == 1 {
		if above, ok := parseTraceparent(lines[0]); ok {
			ctx = trace.ContextWithRemoteSpanContext(ctx, above)
		}
	}
	return t.start(ctx, ctx, "request", trace.WithSpanKind(Server))
}

// Command begins the span of a command: below that of the context, otherwise in the trace
// that the correlation id names, otherwise none.
func (t *Tracer) Command(ctx context.Context, correlation string, command uuid.UUID) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	own := wanted{span: spanOf(command)}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		var known bool
		if own.trace, known = traceOf(correlation); !known {
			return ctx, Span{}
		}
	}
	return t.start(ctx, context.WithValue(ctx, wantedKey{}, own), "command")
}

// Cause is an event, as far as it says where in a trace it belongs.
type Cause struct {
	Correlation string
	Command     uuid.UUID
	At          time.Time
}

// Follow begins the span of something that is done because of an event, in that event's
// trace. It is not recorded when the event belongs to none, or is too old.
func (t *Tracer) Follow(ctx context.Context, of Cause, kind Kind, name string) (context.Context, Span) {
	return t.FollowFrom(ctx, of, kind, name, time.Time{})
}

// FollowFrom is Follow for what began at a time; the zero time is now.
func (t *Tracer) FollowFrom(ctx context.Context, of Cause, kind Kind, name string, from time.Time) (context.Context, Span) {
	if t == nil || time.Since(of.At) > followed {
		return ctx, Span{}
	}
	id, known := traceOf(of.Correlation)
	if !known || !t.samples(id) {
		return ctx, Span{}
	}
	above := trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: spanOf(of.Command), TraceFlags: trace.FlagsSampled, Remote: true,
	}))
	return t.start(above, above, name, trace.WithSpanKind(kind), trace.WithTimestamp(from))
}

func (t *Tracer) samples(id trace.TraceID) bool {
	return t.sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}).Decision == sdktrace.RecordAndSample
}

// TraceID is the id of the context's trace as text, "" without one.
func TraceID(ctx context.Context) string {
	if within := trace.SpanContextFromContext(ctx); within.HasTraceID() {
		return within.TraceID().String()
	}
	return ""
}

// Traceparent is the context's span as the header of W3C Trace Context, "" without one.
func Traceparent(ctx context.Context) string {
	within := trace.SpanContextFromContext(ctx)
	if !within.IsValid() {
		return ""
	}
	return "00-" + within.TraceID().String() + "-" + within.SpanID().String() + "-" + within.TraceFlags().String()
}

// Inject tells a request that goes out which span it belongs to, and takes out what a
// caller of ours has sent along.
func (t *Tracer) Inject(ctx context.Context, header http.Header) {
	if t == nil {
		return
	}
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
		header.Del(name)
	}
	if above := Traceparent(ctx); above != "" {
		header.Set("Traceparent", above)
	}
}

// Transport makes a client's requests spans of their own, named as given: their URLs
// could hold what is none of a trace's business.
func (t *Tracer) Transport(name string, base http.RoundTripper) http.RoundTripper {
	if t == nil {
		return base
	}
	return &transport{t, name, base}
}

type transport struct {
	tracer *Tracer
	name   string
	base   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := c.tracer.Start(r.Context(), Client, c.name)
	defer span.End()
	out := r.Clone(ctx)
	c.tracer.Inject(ctx, out.Header)
	response, err := c.base.RoundTrip(out)
	switch {
	case err != nil:
		span.Fail("no_answer")
	case response.StatusCode >= http.StatusBadRequest:
		span.Fail("refused")
	}
	return response, err
}

// parseTraceparent reads the header of W3C Trace Context, §3.2. Its flags are left out:
// they are the caller's wish, not ours.
func parseTraceparent(text string) (trace.SpanContext, bool) {
	const length = len("00-") + 32 + len("-") + 16 + len("-00")
	if len(text) < length || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return trace.SpanContext{}, false
	}
	// A later version may append more.
	if version, ok := lowerHex(text[:2]); !ok || version[0] == 0xff || version[0] == 0 && len(text) > length || len(text) > length && text[length] != '-' {
		return trace.SpanContext{}, false
	}
	if _, ok := lowerHex(text[53:55]); !ok {
		return trace.SpanContext{}, false
	}
	id, known := traceOf(text[3:35])
	span, ok := lowerHex(text[36:52])
	above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID(pad(span)), Remote: true})
	return above, known && ok && above.IsValid()
}

func pad(b []byte) (out [8]byte) {
	copy(out[:], b)
	return out
}

// traceOf is the trace that a correlation id names. An id of another form names none.
func traceOf(correlation string) (id trace.TraceID, ok bool) {
	if len(correlation) != 2*len(id) {
		return id, false
	}
	decoded, ok := lowerHex(correlation)
	copy(id[:], decoded)
	return id, ok && id.IsValid()
}

func lowerHex(text string) ([]byte, bool) {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, false
		}
	}
	decoded, err := hex.DecodeString(text)
	return decoded, err == nil
}

// spanOf is the span of a command. The last half of a UUID is random, in the versions
// that we make (7, and 5 for reactions), and never all zeros: it holds the variant.
func spanOf(command uuid.UUID) trace.SpanID { return trace.SpanID(command[8:16]) }

// wanted are the ids that the next span is to have.
type wanted struct {
	trace trace.TraceID
	span  trace.SpanID
}

type wantedKey struct{}

// ids makes ids at random where none are wanted. It implements sdktrace.IDGenerator.
type ids struct{}

// NewIDs are those of a span without one above it.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if own, ok := ctx.Value(wantedKey{}).(wanted); ok && own.trace.IsValid() {
		return own.trace, own.span
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // unique, not secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // as above
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID is that of a span below another.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if own, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return own.span
	}
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // as above
	}
	return id
}

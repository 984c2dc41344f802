package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// maxWaiting are the spans that wait to be sent, a few megabytes; more are dropped.
	maxWaiting = 4096
	// maxExport are the spans of one export: what the receivers of OpenTelemetry expect.
	maxExport = 512
	// exportInterval is how long a span waits for company.
	exportInterval = time.Second
	// exportTimeout bounds one attempt. The receiver is next door or down.
	exportTimeout = 5 * time.Second
	// An export that may yet succeed is tried again after these times, doubling, and
	// given up after maxAttempts: new spans are worth more than old ones.
	firstPause  = 500 * time.Millisecond
	maxAttempts = 4
	// maxAnswer is read of an answer, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// What becomes of spans.
const (
	spanExported = "exported"
	// spanDropped: too many waited.
	spanDropped = "dropped"
	// spanFailed: the receiver was away for too long, or refused it.
	spanFailed = "failed"
)

// export sends ended spans in the background. It never makes anybody wait: what does not
// fit its queue is counted and gone. It is a sdktrace.SpanProcessor.
type export struct {
	exporter sdktrace.SpanExporter
	queue    chan sdktrace.ReadOnlySpan
	flush    chan chan struct{}
	// stop ends the sending, and abandon what is under way then.
	stop    chan struct{}
	abandon context.CancelFunc
	ended   chan struct{}

	log                       *slog.Logger
	failing                   bool
	exported, dropped, failed *Counter
}

func newExport(exporter sdktrace.SpanExporter, log *slog.Logger, metrics *Registry) *export {
	spans := metrics.Counters("hub_trace_spans_total", "Spans of traces by what became of them: exported, dropped because too many waited, or failed because the receiver did not take them.",
		Label{"result", []string{spanExported, spanDropped, spanFailed}})
	e := &export{
		exporter: exporter, queue: make(chan sdktrace.ReadOnlySpan, maxWaiting), flush: make(chan chan struct{}),
		stop: make(chan struct{}), ended: make(chan struct{}), log: log,
		exported: spans.With(spanExported), dropped: spans.With(spanDropped), failed: spans.With(spanFailed),
	}
	metrics.Sample("hub_trace_waiting_spans", "Spans that wait to be sent.", func() float64 { return float64(len(e.queue)) })
	ctx, abandon := context.WithCancel(context.Background())
	e.abandon = abandon
	go e.run(ctx)
	return e
}

// OnStart implements sdktrace.SpanProcessor.
func (*export) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (e *export) OnEnd(span sdktrace.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	select {
	case e.queue <- span:
	default:
		e.dropped.Inc()
	}
}

// ForceFlush returns when all that ended before was sent or given up.
func (e *export) ForceFlush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case e.flush <- done:
	case <-e.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sending spans: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sending spans: %w", ctx.Err())
	}
}

// Shutdown ends the sending; call it once, after ForceFlush.
func (e *export) Shutdown(context.Context) error {
	close(e.stop)
	e.abandon()
	<-e.ended
	return nil
}

func (e *export) run(ctx context.Context) {
	defer close(e.ended)
	ticker := time.NewTicker(exportInterval)
	defer ticker.Stop()
	batch := make([]sdktrace.ReadOnlySpan, 0, maxExport)
	for {
		select {
		case span := <-e.queue:
			if batch = append(batch, span); len(batch) == maxExport {
				batch = e.send(ctx, batch)
			}
		case <-ticker.C:
			batch = e.send(ctx, batch)
		case done := <-e.flush:
			for waiting := len(e.queue); waiting > 0; waiting-- {
				if batch = append(batch, <-e.queue); len(batch) == maxExport {
					batch = e.send(ctx, batch)
				}
			}
			batch = e.send(ctx, batch)
			close(done)
		case <-e.stop:
			return
		}
	}
}

// send returns the batch, emptied.
func (e *export) send(ctx context.Context, batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	err := e.exporter.ExportSpans(ctx, batch)
	for pause, attempt := firstPause, 1; err != nil && !errors.Is(err, errRefused) && attempt < maxAttempts; pause, attempt = 2*pause, attempt+1 {
		e.report(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			attempt = maxAttempts
		}
		err = e.exporter.ExportSpans(ctx, batch)
	}
	e.report(err)
	if err != nil {
		e.failed.Add(float64(len(batch)))
	} else {
		e.exported.Add(float64(len(batch)))
	}
	clear(batch)
	return batch[:0]
}

// report logs the beginning and the end of an outage, not every attempt in it.
func (e *export) report(err error) {
	switch {
	case err != nil && !e.failing:
		e.log.Warn("traces cannot be sent; what does not fit the queue is dropped", "error", err)
	case err == nil && e.failing:
		e.log.Info("traces are sent again")
	}
	e.failing = err != nil
}

// errRefused marks an export that the receiver will never take.
var errRefused = errors.New("the receiver of traces refuses them")

// receiver sends spans by OTLP over HTTP, in protobuf. It is a otlptrace.Client; the
// library's own would bring gRPC along.
type receiver struct {
	url     string
	headers map[string]string
	client  *http.Client
}

func newReceiver(o TracerOptions) *receiver {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(o.RootCAs) > 0 {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(o.RootCAs) // internal/config has checked it
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &receiver{
		url: strings.TrimRight(o.Endpoint, "/") + "/v1/traces", headers: o.Headers,
		client: &http.Client{
			Transport: transport, Timeout: exportTimeout,
			// The headers are for this receiver alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Start implements otlptrace.Client.
func (*receiver) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (*receiver) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client.
func (r *receiver) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire the same as the request message of the service.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	for name, value := range r.headers {
		request.Header.Set(name, value)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)); err != nil {
		return err
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("the receiver of traces answers %s", response.Status)
	}
	return fmt.Errorf("%w: it answers %d", errRefused, response.StatusCode)
}

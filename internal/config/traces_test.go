package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/internal/config"
)

func TestTracesAreOffUnlessAReceiverIsNamed(t *testing.T) {
	t.Parallel()
	c := load(t, config.Dev(), "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_SDK_LANGUAGE=of-somebody-elses")
	if c.OTLPEndpoint != "" || c.ServiceName != "hub-backend" || c.TraceRatio != 1 || len(c.OTLPHeaders()) != 0 {
		t.Errorf("found %q, %q, %v, %v", c.OTLPEndpoint, c.ServiceName, c.TraceRatio, c.OTLPHeaders())
	}
}

func TestTracesAreConfiguredAsUsual(t *testing.T) {
	t.Parallel()
	const certificate = "-----BEGIN CERTIFICATE-----\naHVi\n-----END CERTIFICATE-----\n"
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, config.Serve(config.Relay), production(
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example:4318/tenant/", "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b%3D, X-Scope = t1",
		"OTEL_EXPORTER_OTLP_CERTIFICATE="+file, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_SERVICE_NAME=hub-eu")...)
	if c.OTLPEndpoint != "https://collector.example:4318/tenant" || c.ServiceName != "hub-eu" || c.OTLPCertificate.Reveal() != certificate {
		t.Errorf("found %q, %q, %q", c.OTLPEndpoint, c.ServiceName, c.OTLPCertificate.Reveal())
	}
	if want := map[string]string{"Api-Key": "a b=", "X-Scope": "t1"}; !maps.Equal(c.OTLPHeaders(), want) {
		t.Errorf("headers are %v, want %v", c.OTLPHeaders(), want)
	}
	for _, s := range c.Describe() {
		if s.Name == "OTEL_EXPORTER_OTLP_HEADERS" && strings.Contains(s.Value, "a%20b") {
			t.Errorf("%s is shown: %q", s.Name, s.Value)
		}
	}
	for environ, want := range map[string]float64{
		"OTEL_TRACES_SAMPLER=always_on": 1, "OTEL_TRACES_SAMPLER=always_off": 0, "OTEL_TRACES_SAMPLER=parentbased_always_off": 0,
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0.25":          0.25,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0": 0,
		"OTEL_TRACES_SAMPLER=always_on OTEL_TRACES_SAMPLER_ARG=0.25":             1,
	} {
		if got := load(t, config.Dev(), strings.Fields(environ)...).TraceRatio; got != want {
			t.Errorf("%s records %v, want %v", environ, got, want)
		}
	}
}

func TestTracesThatCannotBeSentAreRefused(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT=http://hunter2@collector", "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector?hunter2",
		"OTEL_EXPORTER_OTLP_HEADERS=hunter2", "OTEL_EXPORTER_OTLP_HEADERS=a b=hunter2", "OTEL_EXPORTER_OTLP_HEADERS=a=hunter2%", "OTEL_EXPORTER_OTLP_HEADERS=a=hunter2%0a",
		"OTEL_EXPORTER_OTLP_HEADERS==hunter2", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere", "OTEL_EXPORTER_OTLP_CERTIFICATE=-----BEGIN nothing",
		"OTEL_TRACES_SAMPLER=jaeger_remote", "OTEL_TRACES_SAMPLER_ARG=1.5", "OTEL_TRACES_SAMPLER_ARG=NaN", "OTEL_TRACES_SAMPLER_ARG=-0.1", "OTEL_TRACES_SAMPLER_ARG=all",
	} {
		name, _, _ := strings.Cut(entry, "=")
		message := faults(t, config.Dev(), entry)[name]
		if message == "" || strings.Contains(message, "hunter2") {
			t.Errorf("%s: %q", entry, message)
		}
	}
}

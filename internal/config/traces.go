package config

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/reactdjango-hub/backend/internal/secretfile"
)

// The variables of traces are those of OpenTelemetry, with its meanings, as far as they
// are here; each that is here is read here, and handed to the library as an option.

// The samplers. Behind parentbased_ a caller would decide what is recorded. Callers of
// ours are anybody, so it is always the trace's id that decides, and the names mean the
// same with it and without.
const (
	parentBased = "parentbased_"
	alwaysOn    = "always_on"
	alwaysOff   = "always_off"
	byRatio     = "traceidratio"
)

func setSampler(c *Config, value string) error {
	switch sampler := strings.TrimPrefix(value, parentBased); sampler {
	case alwaysOn, alwaysOff, byRatio:
		c.sampler = sampler
		return nil
	}
	return fmt.Errorf("must be always_on, always_off or traceidratio, not %s", quote(value))
}

func setTraceRatio(c *Config, value string) error {
	ratio, err := strconv.ParseFloat(value, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) { // NaN is neither
		return fmt.Errorf("must be a number from 0 to 1, not %s", quote(value))
	}
	c.TraceRatio, c.ratioSet = ratio, true
	return nil
}

// ratio is what sampler and argument come to.
func (c *Config) ratio() float64 {
	switch {
	case c.sampler == alwaysOff:
		return 0
	case c.sampler == byRatio && c.ratioSet:
		return c.TraceRatio
	}
	return 1
}

func setOTLPProtocol(_ *Config, value string) error {
	if value != "http/protobuf" {
		return fmt.Errorf("must be http/protobuf, whose receivers listen on port 4318 as a rule, not %s", quote(value))
	}
	return nil
}

// setOTLPHeaders takes what W3C Baggage allows: values are percent-encoded.
func setOTLPHeaders(c *Config, value string) error {
	if _, err := parseHeaders(value); err != nil {
		return err
	}
	c.otlpHeaders = Secret(value)
	return nil
}

// OTLPHeaders are sent to the receiver of traces with every request.
func (c Config) OTLPHeaders() map[string]string {
	headers, err := parseHeaders(c.otlpHeaders.Reveal())
	if err != nil {
		return nil // Load has checked it
	}
	return headers
}

// parseHeaders quotes nothing in its errors: it may be a secret.
func parseHeaders(value string) (map[string]string, error) {
	headers := map[string]string{}
	for _, item := range splitList(value) {
		name, encoded, found := strings.Cut(item, "=")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		text, err := url.PathUnescape(strings.TrimSpace(encoded))
		if !found || err != nil || name == "" || strings.ContainsFunc(name, notInName) || strings.ContainsFunc(text, notInValue) {
			return nil, errors.New("is no list of headers: write it as name=value,name=value with special characters of values percent-encoded")
		}
		headers[name] = text
	}
	return headers, nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func notInValue(r rune) bool { return r < ' ' || r > '~' }

// setOTLPCertificate takes the path of a file, as OpenTelemetry does, or PEM itself, as
// the other certificates here.
func setOTLPCertificate(c *Config, value string) error {
	if !strings.Contains(value, "-----BEGIN") {
		content, err := secretfile.Read(value)
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		value = string(content)
	}
	if block, _ := pem.Decode([]byte(value)); block == nil || block.Type != "CERTIFICATE" {
		return errors.New("holds no certificate in PEM")
	}
	c.OTLPCertificate = Secret(value)
	return nil
}

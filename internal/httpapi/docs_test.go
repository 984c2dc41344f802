package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestTheDocsLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	page := e.call("GET", "/api/docs/", "", "Authorization", "")
	if page.Status != 200 || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("status %d, %v", page.Status, page.Header)
	}
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("policy %s", policy)
	}
	elsewhere := regexp.MustCompile(`(?i)https?://|src="//|href="//`)
	if elsewhere.Match(page.Body) {
		t.Errorf("the page names another host: %s", page.Body)
	}
	loads := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllSubmatch(page.Body, -1)
	if len(loads) != 3 {
		t.Fatalf("the page loads %d files", len(loads))
	}
	for _, load := range loads {
		answer := e.call("GET", string(load[1]), "", "Authorization", "")
		if answer.Status != 200 || len(answer.Body) == 0 {
			t.Errorf("%s: %d", load[1], answer.Status)
		}
	}
	style := e.call("GET", "/api/docs/assets/swagger-ui.css", "", "Authorization", "")
	if regexp.MustCompile(`(?i)@import|url\(["']?(?:https?:)?//`).Match(style.Body) {
		t.Error("the style sheet loads from another host")
	}
	start := e.call("GET", "/api/docs/assets/start.js", "", "Authorization", "")
	if elsewhere.Match(start.Body) || !bytes.Contains(start.Body, []byte("validatorUrl: null")) {
		t.Errorf("start.js: %s", start.Body)
	}
}

func TestAssetsCompressedAndCached(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	const path = "/api/docs/assets/swagger-ui-bundle.js"
	plain := e.call("GET", path, "")
	packed := e.call("GET", path, "", "Accept-Encoding", "br, gzip;q=0.8")
	if packed.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" {
		t.Fatalf("encodings %q, %q", packed.Header.Get("Content-Encoding"), plain.Header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed.Body))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(unpacked, plain.Body) {
		t.Errorf("the two differ: %v", err)
	}
	if got := e.call("GET", path, "", "Accept-Encoding", "gzip;q=0"); got.Header.Get("Content-Encoding") != "" {
		t.Error("gzip was refused by the reader and sent")
	}
	again := e.call("GET", path, "", "If-None-Match", plain.Header.Get("ETag"))
	if again.Status != 304 || len(again.Body) != 0 {
		t.Errorf("status %d, %d bytes", again.Status, len(again.Body))
	}
}

func TestTheProblemsPageExplainsEachCode(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	page := e.call("GET", "/api/docs/problems", "", "Authorization", "")
	for _, entry := range catalogue {
		if !bytes.Contains(page.Body, []byte(`id="`+entry.code+`"`)) {
			t.Errorf("%s is missing", entry.code)
		}
	}
}

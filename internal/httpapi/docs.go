package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
)

// assets is swagger-ui-dist 5.35.0 (Apache-2.0), its two large files compressed,
// and the few lines of ours that start it.
//
//go:embed assets
var assets embed.FS

// docsPolicy lets the pages load from this server only. Swagger UI sets styles in
// its elements, hence unsafe-inline for styles, and draws icons from data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file that the docs page loads.
type asset struct{ file, media string }

var docsAssets = map[string]asset{
	"swagger-ui-bundle.js": {"assets/swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"},
	"swagger-ui.css":       {"assets/swagger-ui.css.gz", "text/css; charset=utf-8"},
	"start.js":             {"assets/start.js", "text/javascript; charset=utf-8"},
	"LICENSE":              {"assets/LICENSE", "text/plain; charset=utf-8"},
	"NOTICE":               {"assets/NOTICE", "text/plain; charset=utf-8"},

	"swagger-ui-bundle.js.LICENSE.txt": {"assets/swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"},
}

func (a *API) serveSpec(w http.ResponseWriter, r *http.Request) {
	serveStatic(w, r, "application/json", a.spec)
}

func serveDocs(w http.ResponseWriter, r *http.Request) {
	page, err := assets.ReadFile("assets/docs.html")
	if err != nil {
		exchangeOf(r.Context()).fail(err)
		return
	}
	w.Header().Set("Content-Security-Policy", docsPolicy)
	serveStatic(w, r, "text/html; charset=utf-8", page)
}

// serveProblems is the page that the "type" of every problem leads to.
func serveProblems(w http.ResponseWriter, r *http.Request) {
	var page strings.Builder
	page.WriteString("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Hub Backend: problems</title><link rel=\"icon\" href=\"data:,\"></head>\n<body>\n<h1>Problems</h1>\n<p>What the code of an error answer means.</p>\n<dl>\n")
	for _, entry := range catalogue {
		page.WriteString("<dt id=\"" + entry.code + "\"><code>" + entry.code + "</code> (" + strconv.Itoa(statuses[entry.kind].status) + ")</dt><dd>" + html.EscapeString(entry.meaning) + "</dd>\n")
	}
	page.WriteString("</dl>\n</body>\n</html>\n")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	serveStatic(w, r, "text/html; charset=utf-8", []byte(page.String()))
}

func serveAsset(w http.ResponseWriter, r *http.Request) {
	found, ok := docsAssets[mux.Vars(r)["name"]]
	if !ok {
		notFound(w, r)
		return
	}
	content, err := assets.ReadFile(found.file)
	if err != nil {
		exchangeOf(r.Context()).fail(err)
		return
	}
	if strings.HasSuffix(found.file, ".gz") {
		w.Header().Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			w.Header().Set("Content-Encoding", "gzip")
		} else if content, err = gunzip(content); err != nil {
			exchangeOf(r.Context()).fail(err)
			return
		}
	}
	serveStatic(w, r, found.media, content)
}

// serveStatic answers bytes that are the same for everybody. A browser keeps them
// and asks each time whether they have changed, as after an upgrade.
func serveStatic(w http.ResponseWriter, r *http.Request, media string, content []byte) {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", tag)
	if !matchesNone(r.Header["If-None-Match"], tag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", media)
	header.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(content) // a reader who is gone cannot be told
}

// acceptsGzip reports whether gzip is named and not refused with q=0.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.TrimSpace(name) == "gzip" {
			value, weighted := strings.CutPrefix(strings.TrimSpace(quality), "q=")
			return !weighted || strings.Trim(value, "0.") != ""
		}
	}
	return false
}

func gunzip(content []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

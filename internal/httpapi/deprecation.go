package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// deprecation says that a route is to go: callers are told with every answer (RFC 9745,
// RFC 8594), the description says so, and those who still call are counted.
type deprecation struct {
	// Since is from when on callers should use something else.
	Since time.Time
	// Sunset is when the route will be gone; zero while that is open.
	Sunset time.Time
	// Link is the page that says what to use instead.
	Link string
}

// check finds what would tell callers nonsense.
func (d *deprecation) check(route string) {
	if d.Since.IsZero() || d.Link == "" || !d.Sunset.IsZero() && d.Sunset.Before(d.Since) {
		panic("httpapi: the deprecation of " + route + " needs a time, a page, and a sunset that is not before") // the program is wrong, and every test that makes an API finds it
	}
}

// tell sets the headers.
func (d *deprecation) tell(header http.Header) {
	header.Set("Deprecation", "@"+strconv.FormatInt(d.Since.Unix(), 10))
	header.Add("Link", "<"+d.Link+`>; rel="deprecation"`)
	if !d.Sunset.IsZero() {
		header.Set("Sunset", d.Sunset.UTC().Format(http.TimeFormat))
	}
}

// describe is what the description of the route ends in.
func (d *deprecation) describe() string {
	text := fmt.Sprintf(" Deprecated since %s: see %s.", d.Since.UTC().Format(time.DateOnly), d.Link)
	if !d.Sunset.IsZero() {
		text += fmt.Sprintf(" Gone after %s.", d.Sunset.UTC().Format(time.DateOnly))
	}
	return text
}

// warn tells the caller of a route that is to go.
func (a *API) warn(e *exchange) {
	if e.route.Deprecated == nil {
		return
	}
	e.route.Deprecated.tell(e.Header())
	a.metrics.deprecated.With(routeKey{e.route.Method, e.route.Path}.String()).Inc()
}

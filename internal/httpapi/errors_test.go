package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

func testExchange(log *logged) *exchange {
	a := &API{log: slog.New(slog.NewTextHandler(log, nil))}
	return a.exchange(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestEveryKindOfProblemHasAStatus(t *testing.T) {
	t.Parallel()
	for kind := problem.Internal; kind <= problem.OutcomeUnknown; kind++ {
		if int(kind) >= len(statuses) || statuses[kind].status < 400 || statuses[kind].title == "" {
			t.Errorf("kind %d has no status", kind)
		}
	}
}

func TestAForeignErrorStaysInside(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		errors.New("password authentication failed for secret-host"),
		fmt.Errorf("wrapped: %w", problem.New(problem.Internal, "secret-code", "secret-host is down")),
	} {
		log := &logged{}
		e := testExchange(log)
		answer := e.problemFor(err)
		body, _ := json.Marshal(answer)
		if answer.Status != 500 || answer.Code != "internal" || strings.Contains(string(body), "secret") {
			t.Errorf("answer %s", body)
		}
		if !strings.Contains(log.String(), e.requestID) || !strings.Contains(log.String(), "secret-host") {
			t.Errorf("the log does not tell what happened: %s", log)
		}
	}
}

func TestExtraMembersNeverReplaceFixedOnes(t *testing.T) {
	t.Parallel()
	p := problem.New(problem.Conflict, "conflict", "Detail.")
	p.Extra = map[string]any{"version": 3, "status": 200, "id": "x", "errors": "none"}
	body, err := json.Marshal(testExchange(&logged{}).problemFor(p))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got["version"] != 3.0 || got["id"] != "x" || got["status"] != 409.0 || got["errors"] != nil {
		t.Errorf("body %s", body)
	}
	if strings.Count(string(body), `"status"`) != 1 {
		t.Errorf("a member is there twice: %s", body)
	}
}

func TestRetryAfterIsWholeSeconds(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1500 * time.Millisecond: "2"} {
		e := testExchange(&logged{})
		_ = e.problemFor(problem.New(problem.Unavailable, "overloaded", "Later.").Retry(after))
		if got := e.Header().Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After %q, want %q", after, got, want)
		}
	}
}

// Every code that the source can answer must be explained; the page of problems
// and the OpenAPI document are made of the catalogue.
func TestTheCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	made := regexp.MustCompile(`problem\.New\(problem\.([A-Za-z]+),\s*"([a-z0-9_]+)"`)
	found := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if filepath.Base(path) == "devhandler.go" {
			return nil // the development issuer is no part of the API
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range made.FindAllSubmatch(source, -1) {
			found++
			if !catalogued(string(match[2])) {
				t.Errorf("%s: code %s is missing from the catalogue", path, match[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 30 {
		t.Errorf("only %d problems found in the source: the search is broken", found)
	}
}

func TestLocationsAndFaultsAreBounded(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	var body strings.Builder
	body.WriteString(`{"type":"customer","attributes":{}`)
	for i := range 1000 {
		fmt.Fprintf(&body, `,"%s%d":1`, strings.Repeat("é", 400), i)
	}
	body.WriteString("}")
	answer := e.call("POST", "/api/v1/entities", body.String())
	p := answer.expect(422, "unknown_field")
	if len(p.Errors) != maxFaults || len(answer.Body) > 16<<10 {
		t.Errorf("%d faults, %d bytes", len(p.Errors), len(answer.Body))
	}
}

func TestRejectedValuesAreNotRepeated(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, body := range []string{
		`{"type":"customer","attributes":"hunter2"}`,
		`{"type":["hunter2"],"attributes":{}}`,
		`{"type":"customer","attributes":{},"password":"hunter2"}`,
		`{"type":"customer","attributes":{},"tags":[{"a":"hunter2"}]}`,
		`{"type":"customer","attributes":{"a":hunter2}}`,
		`"hunter2"`,
	} {
		answer := e.call("POST", "/api/v1/entities", body)
		if answer.problem(); strings.Contains(string(answer.Body), "hunter2") {
			t.Errorf("%s: the value is in the answer: %s", body, answer.Body)
		}
	}
	places := e.call("PUT", "/api/v1/entity-types/customer", `{"relationships":[{"kind":"a","target":"b","on_archive":"c"},{"kind":"a","target":"b","more":1}]}`).problem()
	if len(places.Errors) != 2 || places.Errors[0].Location != "body.relationships/0/on_archive" || places.Errors[1].Location != "body.relationships/1/more" {
		t.Errorf("%+v", places.Errors)
	}
	answer := e.call("GET", "/api/v1/entities?limit=hunter2", "")
	if strings.Contains(string(answer.Body), "hunter2") {
		t.Errorf("the value is in the answer: %s", answer.Body)
	}
}

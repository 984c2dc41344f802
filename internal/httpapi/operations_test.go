package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestOperations(t *testing.T) {
	t.Parallel()
	var asked []string
	e := newEdge(t, func(o *Options) {
		o.Operations = &Operations{
			Views:  func(context.Context) ([]OperatedView, error) { return []OperatedView{{Name: "entities"}}, nil },
			Jobs:   func(context.Context) ([]ViewJob, error) { return nil, nil },
			Parked: func(context.Context) ([]ParkedStream, error) { return nil, nil },
			Request: func(_ context.Context, _ Asked, view, kind string) (ViewJob, bool, error) {
				if view != "entities" {
					return ViewJob{}, false, problem.New(problem.NotFound, "not_found", "There is no view of this name.")
				}
				asked = append(asked, kind)
				return ViewJob{View: view, Kind: kind}, false, nil
			},
			Cancel: func(context.Context, Asked, string) (ViewJob, bool, error) {
				return ViewJob{}, false, problem.New(problem.NotFound, "not_found", "No job is under way for this view.")
			},
			Relay: func(context.Context) (RelayState, error) { return RelayState{Head: 7}, nil },
			Reactions: func(context.Context) ([]OperatedReaction, error) {
				return []OperatedReaction{{Name: "greeting", Items: []ParkedEvent{}}}, nil
			},
			ChangeParked: func(_ context.Context, _ Asked, reaction, change string, position int64) (int64, bool, error) {
				if reaction != "greeting" {
					return 0, false, problem.New(problem.NotFound, "not_found", "There is no reaction of this name.")
				}
				asked = append(asked, fmt.Sprint(change, position))
				return 2, false, nil
			},
		}
	})
	for _, role := range []string{"operator", "admin"} {
		token := []string{"Authorization", "Bearer " + e.issuer.token(t, role)}
		for path, want := range map[string]string{
			"/views": `"name":"entities"`, "/jobs": `{"items":[],"next_cursor":null,"truncated":false}`, "/parked": `{"items":[],"next_cursor":null,"truncated":false}`, "/relay": `"head":7`, "/reactions": `"name":"greeting"`,
		} {
			answer := e.call("GET", operationsPath+path, "", token...)
			require.Equal(t, http.StatusOK, answer.Status, path)
			require.Contains(t, string(answer.Body), want, path)
		}
		asked = nil
		for _, path := range []string{"/views/entities/rebuild", "/views/entities/verify", "/parked/entities/retry"} {
			require.Equal(t, http.StatusAccepted, e.call("POST", operationsPath+path, "", token...).Status, path)
		}
		require.Equal(t, []string{"rebuild", "verify", "retry"}, asked)
		asked = nil
		require.Equal(t, http.StatusAccepted, e.call("POST", operationsPath+"/reactions/greeting/retry?position=17", "", token...).Status)
		dropped := e.call("POST", operationsPath+"/reactions/greeting/drop", "", token...)
		require.Equal(t, http.StatusOK, dropped.Status)
		require.Contains(t, string(dropped.Body), `"events":2`)
		require.Equal(t, []string{"retry17", "drop0"}, asked)
		e.call("POST", operationsPath+"/reactions/nothing/drop", "", token...).expect(404, "not_found")
		e.call("POST", operationsPath+"/reactions/greeting/drop?position=0", "", token...).expect(422, "invalid_request")
		e.call("POST", operationsPath+"/views/nothing/rebuild", "", token...).expect(404, "not_found")
		e.call("POST", operationsPath+"/views/entities/cancel", "", token...).expect(404, "not_found")
		e.call("GET", operationsPath+"/views/entities/rebuild", "", token...).expect(405, "method_not_allowed")
	}
}

// What a request says about how often it may be done is handed on, and its answer says
// whether it was.
func TestOperationsSayHowOftenTheyMayBeDone(t *testing.T) {
	t.Parallel()
	var asked []Asked
	var replayed bool
	var refusal error
	e := newEdge(t, func(o *Options) {
		o.Operations = &Operations{
			Request: func(_ context.Context, a Asked, view, kind string) (ViewJob, bool, error) {
				asked = append(asked, a)
				return ViewJob{View: view, Kind: kind}, replayed, refusal
			},
			ChangeParked: func(_ context.Context, a Asked, _, _ string, _ int64) (int64, bool, error) {
				asked = append(asked, a)
				return 2, replayed, refusal
			},
		}
	})
	const rebuild, drop = operationsPath + "/views/entities/rebuild", operationsPath + "/reactions/greeting/drop"
	token := []string{"Authorization", "Bearer " + e.issuer.token(t, "operator")}
	call := func(path, body string, header ...string) *reply {
		t.Helper()
		return e.call("POST", path, body, append(header, token...)...)
	}

	call(rebuild, "")
	require.Equal(t, []Asked{{Org: "acme", Caller: "ana"}}, asked, "nothing is said, so nothing is kept")
	asked = nil
	for _, path := range []string{rebuild, rebuild + "?dry_run=false", drop, drop + "?position=1", drop + "?position=2"} {
		require.Empty(t, call(path, "", "Idempotency-Key", "k").Header.Get("Idempotency-Replayed"), path)
	}
	call(rebuild, "{}", "Idempotency-Key", "k")
	call(rebuild, "", "Idempotency-Key", "k", "If-Match", `"1"`)
	hashes := map[string]bool{}
	for _, a := range asked {
		require.Equal(t, "k", a.Key)
		require.False(t, a.DryRun)
		hashes[string(a.Hash)] = true
	}
	require.Len(t, hashes, len(asked), "path, query, body and If-Match make different requests")
	call("/api/operations/views/entities/rebuild/", "", "Idempotency-Key", "k")
	require.Equal(t, asked[0].Hash, asked[len(asked)-1].Hash, "another way to write the same path")

	asked = nil
	for _, path := range []string{rebuild, drop} {
		require.Contains(t, string(call(path+"?dry_run=true", "", "Idempotency-Key", "k").Body), `"dry_run":true`, path)
	}
	require.True(t, asked[0].DryRun && asked[1].DryRun)

	replayed = true
	require.Equal(t, "true", call(rebuild, "", "Idempotency-Key", "k").Header.Get("Idempotency-Replayed"))
	refusal = problem.New(problem.Conflict, "job_running", "A verify is under way for this view. Wait for it, or cancel it.")
	again := call(drop, "", "Idempotency-Key", "k")
	again.expect(409, "job_running")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))

	asked = nil
	call(rebuild, "", "Idempotency-Key", "a b").expect(400, "invalid_idempotency_key")
	call(rebuild+"?dry_run=yes", "").expect(422, "invalid_request")
	call(rebuild+"?dry_run=", "").expect(422, "invalid_request")
	e.call("GET", operationsPath+"/jobs?dry_run=true", "", token...).expect(422, "unknown_parameter")
	require.Empty(t, asked)
}

func TestOperationsAreForwardedToTheQueryAPI(t *testing.T) {
	t.Parallel()
	var seen string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		seen = r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Idempotency-Key") + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(upstream.Close)
	e := newEdge(t, func(o *Options) { o.Reads, o.Operations, o.QueryAPIURL = nil, nil, upstream.URL })
	for _, body := range []string{"", "{}", `{"view":"entities"}`} { // what it says, the query API looks at
		require.Equal(t, http.StatusAccepted, e.call("POST", "/api/operations/views/entities/rebuild?dry_run=true", body, "Idempotency-Key", "k").Status)
		require.Equal(t, "POST /api/v1/operations/views/entities/rebuild?dry_run=true k "+body, seen)
	}
	seen = ""
	e.call("POST", "/api/operations/views/entities/rebuild", strings.Repeat(" ", noInputBytes+1)).expect(413, "body_too_large")
	require.Empty(t, seen)
	require.Equal(t, http.StatusAccepted, e.call("GET", "/api/operations/views", "{}").Status)
	require.Equal(t, "GET /api/v1/operations/views  ", seen, "what comes with a read says nothing")
}

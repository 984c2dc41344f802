package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
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
			Request: func(_ context.Context, view, kind string) (ViewJob, error) {
				if view != "entities" {
					return ViewJob{}, problem.New(problem.NotFound, "not_found", "There is no view of this name.")
				}
				asked = append(asked, kind)
				return ViewJob{View: view, Kind: kind}, nil
			},
			Cancel: func(context.Context, string) (ViewJob, error) {
				return ViewJob{}, problem.New(problem.NotFound, "not_found", "No job is under way for this view.")
			},
			Relay: func(context.Context) (RelayState, error) { return RelayState{Head: 7}, nil },
		}
	})
	for _, role := range []string{"operator", "admin"} {
		token := []string{"Authorization", "Bearer " + e.issuer.token(t, role)}
		for path, want := range map[string]string{
			"/views": `"name":"entities"`, "/jobs": `{"items":[]}`, "/parked": `{"items":[]}`, "/relay": `"head":7`,
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
		e.call("POST", operationsPath+"/views/nothing/rebuild", "", token...).expect(404, "not_found")
		e.call("POST", operationsPath+"/views/entities/cancel", "", token...).expect(404, "not_found")
		e.call("GET", operationsPath+"/views/entities/rebuild", "", token...).expect(405, "method_not_allowed")
	}
}

func TestOperationsAreForwardedToTheQueryAPI(t *testing.T) {
	t.Parallel()
	var seen string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Method + " " + r.URL.Path
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(upstream.Close)
	e := newEdge(t, func(o *Options) { o.Reads, o.Operations, o.QueryAPIURL = nil, nil, upstream.URL })
	require.Equal(t, http.StatusAccepted, e.call("POST", "/api/operations/views/entities/rebuild", "").Status)
	require.Equal(t, "POST /api/v1/operations/views/entities/rebuild", seen)
}

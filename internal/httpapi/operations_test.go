package httpapi

import (
	"context"
	"fmt"
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
			Reactions: func(context.Context) ([]OperatedReaction, error) {
				return []OperatedReaction{{Name: "greeting", Items: []ParkedEvent{}}}, nil
			},
			ChangeParked: func(_ context.Context, reaction, change string, position int64) (int64, error) {
				if reaction != "greeting" {
					return 0, problem.New(problem.NotFound, "not_found", "There is no reaction of this name.")
				}
				asked = append(asked, fmt.Sprint(change, position))
				return 2, nil
			},
		}
	})
	for _, role := range []string{"operator", "admin"} {
		token := []string{"Authorization", "Bearer " + e.issuer.token(t, role)}
		for path, want := range map[string]string{
			"/views": `"name":"entities"`, "/jobs": `{"items":[]}`, "/parked": `{"items":[]}`, "/relay": `"head":7`, "/reactions": `"name":"greeting"`,
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

package main

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/projections"
)

// listOf is the body of a list.
type listOf[T any] struct{ Items []T }

// The whole way: an operator of one organisation steers what all share, and learns
// nothing about the other organisations.
func TestOperationsRoutes(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	for _, org := range []string{"acme", "other"} {
		token := h.token(org, "admin")
		h.defineType(token, "thing")
		h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "key": "a", "attributes": map[string]any{}})
	}
	h.all(h.token("acme", "admin"), 4)
	operator := h.token("acme", "operator")

	var views listOf[httpapi.OperatedView]
	h.eventually("the views have the log", func() bool { // the directory's events, too
		require.Equal(t, http.StatusOK, h.get("/api/v1/operations/views", operator, nil, &views))
		return views.Items[0].Position > 4 && views.Items[0].LagPositions == 0
	})
	require.Len(t, views.Items, len(projections.All()))
	require.Equal(t, []any{"entities", "entities_v1", "following"}, []any{views.Items[0].Name, views.Items[0].Schema, views.Items[0].State})

	var relay httpapi.RelayState
	h.eventually("the stream has the log", func() bool {
		require.Equal(t, http.StatusOK, h.get("/api/v1/operations/relay", operator, nil, &relay))
		return relay.LagPositions == 0
	})
	require.GreaterOrEqual(t, relay.Published, int64(4))
	require.Equal(t, int64(1), relay.First)
	require.True(t, relay.Leader)

	response, _, err := h.do(t.Context(), http.MethodPost, "/api/v1/operations/views/entities/rebuild", operator, nil, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	var jobs listOf[httpapi.ViewJob]
	h.eventually("the job is done", func() bool {
		require.Equal(t, http.StatusOK, h.get("/api/v1/operations/jobs", operator, nil, &jobs))
		return jobs.Items[0].State == projections.StateCompleted
	})
	require.Len(t, h.all(h.token("acme", "admin"), 4), 1)

	// A parked stream of another organisation is counted and not named.
	_, err = hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `
		INSERT INTO view_parked (schema, org, stream, stream_hash, next_version, first_position, last_position, events, reason)
		SELECT schema, 'other', 'entity:secret-name', 'abc', 1, 3, 3, 1, 'refused' FROM view_pointers WHERE name = 'entities'`)
	require.NoError(t, err)
	response, body, err := h.do(t.Context(), http.MethodGet, "/api/v1/operations/parked", operator, nil, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, string(body), `"stream_hash":"abc"`)
	require.NotContains(t, string(body), "other")
	require.NotContains(t, string(body), "secret")
	// However many there are, the answer is bounded and says so.
	require.Contains(t, string(body), `"next_cursor":null,"truncated":false`)
	_, err = hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `
		INSERT INTO view_parked (schema, org, stream, stream_hash, next_version, first_position, last_position, events, reason)
		SELECT schema, 'other', 'entity:' || n, 'abc', 1, 3, 3, 1, 'refused' FROM view_pointers, generate_series(1, 500) n WHERE name = 'entities'`)
	require.NoError(t, err)
	var parked struct {
		listOf[httpapi.ParkedStream]
		Truncated bool
	}
	require.Equal(t, http.StatusOK, h.get("/api/v1/operations/parked", operator, nil, &parked))
	require.Len(t, parked.Items, 500)
	require.True(t, parked.Truncated)
	_, err = hubtest.Pool(t, h.postgres(), "hub_query").Exec(t.Context(), `SELECT stream FROM view_parked`)
	require.ErrorContains(t, err, "permission denied", "the database would not let it")
	_, err = hubtest.Pool(t, h.postgres(), "hub_query").Exec(t.Context(), `SELECT report FROM view_jobs`)
	require.ErrorContains(t, err, "permission denied")
	var health httpapi.Health
	require.Equal(t, http.StatusOK, h.get("/api/health/", "", nil, &health))
}

// What is parked of the reactions is shown without saying whose it is, and retried and
// dropped by operators of any organisation.
func TestOperationsOfReactions(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	operator := h.token("acme", "operator")
	_, err := hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `
		INSERT INTO reaction_checkpoints SELECT 'greeting', 0, epoch, now() FROM log_head();
		INSERT INTO reaction_parked SELECT 'greeting', n, gen_random_uuid(), 'other', 'note:secret', 'abc', 'note.noted', 'no idea', 5, false, now()
		  FROM generate_series(11, 13) n`)
	require.NoError(t, err)

	response, body, err := h.do(t.Context(), http.MethodGet, "/api/v1/operations/reactions", operator, nil, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NotContains(t, string(body), "other")
	require.NotContains(t, string(body), "secret")
	_, err = hubtest.Pool(t, h.postgres(), "hub_query").Exec(t.Context(), `SELECT stream FROM reaction_parked`)
	require.ErrorContains(t, err, "permission denied", "the database would not let it")

	for path, want := range map[string]int{"retry?position=12": http.StatusAccepted, "drop?position=11": http.StatusOK} {
		response, body, err := h.do(t.Context(), http.MethodPost, "/api/v1/operations/reactions/greeting/"+path, operator, nil, nil)
		require.NoError(t, err)
		require.Equal(t, want, response.StatusCode)
		require.JSONEq(t, `{"events":1}`, string(body))
	}
	var found listOf[httpapi.OperatedReaction]
	require.Equal(t, http.StatusOK, h.get("/api/v1/operations/reactions", operator, nil, &found))
	require.Len(t, found.Items, 2, "and the hub's own timer")
	require.Equal(t, "greeting", found.Items[0].Name)
	require.EqualValues(t, 2, found.Items[0].Parked)
	require.Equal(t, []any{int64(12), true, int64(13), false}, []any{
		found.Items[0].Items[0].Position, found.Items[0].Items[0].Retry, found.Items[0].Items[1].Position, found.Items[0].Items[1].Retry,
	})
	response, _, err = h.do(t.Context(), http.MethodPost, "/api/v1/operations/reactions/nothing/drop", operator, nil, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

// A key is good for one effect, whichever process answers and however often it was started;
// what was refused stays refused.
func TestOperationsWithAKeyAreDoneOnce(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	operator := h.token("acme", "operator")
	post := func(path, key string, status int) (http.Header, string) {
		t.Helper()
		response, body, err := h.do(t.Context(), http.MethodPost, "/api/v1/operations/"+path, operator, map[string]string{"Idempotency-Key": key}, nil)
		require.NoError(t, err)
		require.Equal(t, status, response.StatusCode, "%s: %s", path, body)
		return response.Header, string(body)
	}
	jobs := func() int {
		t.Helper()
		var found listOf[httpapi.ViewJob]
		require.Equal(t, http.StatusOK, h.get("/api/v1/operations/jobs", operator, nil, &found))
		return len(found.Items)
	}
	_, refused := post("views/entities/cancel", "none", http.StatusNotFound)

	_, dry := post("views/entities/verify?dry_run=true", "once", http.StatusAccepted)
	require.Contains(t, dry, `"dry_run":true`)
	require.Contains(t, dry, uuid.Nil.String())
	require.Zero(t, jobs())

	header, first := post("views/entities/verify", "once", http.StatusAccepted)
	require.Empty(t, header.Get("Idempotency-Replayed"))
	require.NotContains(t, first, "dry_run")
	require.Equal(t, 1, jobs())
	h.kill()
	h.start()
	operator = h.token("acme", "operator")
	header, again := post("views/entities/verify", "once", http.StatusAccepted)
	require.Equal(t, "true", header.Get("Idempotency-Replayed"))
	require.Equal(t, first, again)
	require.Equal(t, 1, jobs())
	header, again = post("views/entities/cancel", "none", http.StatusNotFound)
	require.Equal(t, "true", header.Get("Idempotency-Replayed"))
	require.Contains(t, refused, `"code":"not_found"`)
	require.Contains(t, again, `"code":"not_found"`)
	_, reused := post("views/accounts/verify", "once", http.StatusUnprocessableEntity)
	require.Contains(t, reused, `"code":"idempotency_key_reused"`)
	require.Equal(t, 1, jobs())

	// A dry run says what is refused, too, and what it would have met.
	_, err := hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `
		INSERT INTO reaction_checkpoints SELECT 'greeting', 0, epoch, now() FROM log_head();
		INSERT INTO reaction_parked SELECT 'greeting', n, gen_random_uuid(), 'other', 'note:secret', 'abc', 'note.noted', 'no idea', 5, false, now()
		  FROM generate_series(11, 13) n`)
	require.NoError(t, err)
	post("reactions/nothing/drop?dry_run=true", "drop", http.StatusNotFound)
	for range 2 {
		_, body := post("reactions/greeting/drop?dry_run=true", "drop", http.StatusOK)
		require.JSONEq(t, `{"events":3,"dry_run":true}`, body)
	}
	for range 2 {
		_, body := post("reactions/greeting/drop", "drop", http.StatusOK)
		require.JSONEq(t, `{"events":3}`, body)
	}
	_, body := post("reactions/greeting/drop", "another", http.StatusOK)
	require.JSONEq(t, `{"events":0}`, body)
}

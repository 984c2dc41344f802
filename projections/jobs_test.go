package projections

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// workJobs are the rows of the view, without times.
func (h *hub) workJobs(t *testing.T) (jobs, failures []string) {
	t.Helper()
	var schema string
	require.NoError(t, h.options.Pool.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'jobs'`).Scan(&schema))
	for text, into := range map[string]*[]string{
		`SELECT concat_ws(' ', j.org, kind, state, code, cleared, total, created, updated, unchanged, failed, by_sub, by_person, j.version,
		        about->>'selected_at', ended_at IS NOT NULL, ended_at >= started_at, updated_at >= started_at, started_by = e.id)
		   FROM ` + schema + `.jobs j JOIN read_log(0, 1000) e ON e.position = j.position ORDER BY j.position`: &jobs,
		`SELECT concat_ws(' ', org, position, number, item, code, errors) FROM ` + schema + `.job_failures ORDER BY org, position, number`: &failures,
	} {
		rows, err := h.options.Pool.Query(t.Context(), text)
		require.NoError(t, err)
		*into, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
	}
	return jobs, failures
}

func TestJobsOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	options := h.with(WorkJobs())
	one, two, three := entity.BulkUpdateStream(uuid.UUID{15: 1}), entity.BulkUpdateStream(uuid.UUID{15: 2}), entity.BulkUpdateStream(uuid.UUID{15: 3})
	begun := entity.BulkUpdateStarted{
		By: domain.JobOwner{Actor: domain.Actor{Sub: "ana", Person: "p-7"}}, Day: "2026-03-01", Total: 5, SelectedAt: 4711,
		Names: []string{"a"}, Attributes: json.RawMessage(`{"$sealed":"AQ8","subject":"x"}`),
	}
	failed := func(item, code string, fields ...problem.Field) domain.JobFailure {
		return domain.JobFailure{Item: item, Code: code, Fields: fields}
	}
	h.append(t,
		happening{"acme", one, begun},
		happening{"acme", one, entity.BulkUpdateSelected{}},
		happening{"other", one, entity.BulkUpdateStarted{Total: 1}},
		happening{"acme", one, entity.BulkUpdateProgressed{Through: 3, Updated: 1, Unchanged: 1, Failed: []domain.JobFailure{
			failed("a", "invalid_attributes", problem.Field{Location: "body.attributes/x", Message: "is required"}),
		}}},
		happening{"acme", two, begun},
		happening{"acme", one, entity.BulkUpdateProgressed{Through: 5, Failed: []domain.JobFailure{failed("b", "conflict"), failed("c", "forbidden")}}},
		happening{"acme", one, entity.BulkUpdateCompleted{}},
		happening{"acme", three, begun},
		happening{"acme", two, entity.BulkUpdateCancelled{}},
		happening{"acme", three, entity.BulkUpdateFailed{Code: "job_data_lost"}},
		happening{"acme", one, entity.BulkUpdateCleared{}},
	)
	jobs := []string{
		"acme bulk_update completed  t 5 0 1 1 3 ana p-7 6 4711 t t t t",
		"other bulk_update running  f 1 0 0 0 0   1 0 f t t",
		"acme bulk_update cancelled  f 5 0 0 0 0 ana p-7 2 4711 t t t t",
		"acme bulk_update failed job_data_lost f 5 0 0 0 0 ana p-7 2 4711 t t t t",
	}
	failures := []string{
		`acme 4 0 a invalid_attributes [{"message": "is required", "location": "body.attributes/x"}]`,
		`acme 6 0 b conflict []`, `acme 6 1 c forbidden []`,
	}
	require.NoError(t, Rebuild(t.Context(), options, "jobs", nil))
	gotJobs, gotFailures := h.workJobs(t)
	require.Equal(t, jobs, gotJobs)
	require.Equal(t, failures, gotFailures)

	// Event by event it comes to the same.
	live, err := loadView(t.Context(), options.Pool, "jobs")
	require.NoError(t, err)
	_, err = options.Pool.Exec(t.Context(), `WITH gone AS (DELETE FROM `+live.schema+`.job_failures) DELETE FROM `+live.schema+`.jobs`)
	require.NoError(t, err)
	_, err = options.Pool.Exec(t.Context(), `UPDATE view_checkpoints SET position = 0 WHERE schema = $1`, live.schema)
	require.NoError(t, err)
	w, err := openWriter(t.Context(), options, options.Projections[0], live.schema)
	require.NoError(t, err)
	for _, e := range h.events(t) {
		require.NoError(t, w.write(t.Context(), []domain.Event{e}))
	}
	gotJobs, gotFailures = h.workJobs(t)
	require.Equal(t, jobs, gotJobs)
	require.Equal(t, failures, gotFailures)
}

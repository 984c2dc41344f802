package projections

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestVerifyFindsRowsChangedBehindTheViewsBack(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	changed, deleted, added := entity.Stream(uuid.New()), entity.Stream(uuid.New()), uuid.New()
	h.append(t, created(changed, "secret key"), created(deleted, "b"), updated(changed, 1),
		happening{"acme", entity.TypeStream("thing"), entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`)}})
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(20)...))

	report, err := Verify(t.Context(), h.options, "entities", nil)
	require.NoError(t, err)
	require.Equal(t, Report{View: "entities", Schema: "entities_v1", Position: 24, Rows: 23}, report)
	require.Equal(t, []string{"entities_v1"}, h.schemas(t), "the shadow is gone")

	for _, statement := range []string{
		`UPDATE entities_v1.entities SET attributes = '{"secret":1}', version = 7 WHERE id = '` + changed.Name() + `'`,
		`DELETE FROM entities_v1.entities WHERE id = '` + deleted.Name() + `'`,
		`INSERT INTO entities_v1.entities SELECT 'other', '` + added.String() + `', type, key, status, attributes, tags, version,
			created_at, created_by, updated_at, updated_by, position, event_id, type_version, sealed FROM entities_v1.entities LIMIT 1`,
		`UPDATE entities_v1.entity_types SET schema = '{ }'`,
	} {
		_, err := h.admin.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	report, err = Verify(t.Context(), h.options, "entities", nil)
	require.NoError(t, err)
	require.EqualValues(t, 4, report.Differences)
	require.ElementsMatch(t, []Difference{
		{Table: "entities", Key: map[string]string{"org": "acme", "id": changed.Name()}, Kind: differenceChanged, Columns: []string{"attributes", "version"}},
		{Table: "entities", Key: map[string]string{"org": "acme", "id": deleted.Name()}, Kind: differenceMissing},
		{Table: "entities", Key: map[string]string{"org": "other", "id": added.String()}, Kind: differenceExtra},
		{Table: "entity_types", Key: map[string]string{"org": "acme", "name": "thing"}, Kind: differenceChanged, Columns: []string{"schema"}},
	}, report.Details)
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret", "values are not shown")
	require.EqualValues(t, 4, h.job(t).Findings)
}

func TestVerifyNamesABoundedNumberOfRowsAndCountsAll(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(maxDifferences+50)...))
	_, err := h.admin.Exec(t.Context(), `DELETE FROM entities_v1.entities`)
	require.NoError(t, err)
	report, err := Verify(t.Context(), h.options, "entities", nil)
	require.NoError(t, err)
	require.EqualValues(t, maxDifferences+50, report.Differences)
	require.Len(t, report.Details, maxDifferences)
}

// The view is compared at one position, whatever is written meanwhile.
func TestVerifyUnderWritesFindsNothing(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.stream(t, broker.JetStream, 1)
	h.run(t, New(h.options))
	stream := entity.Stream(uuid.New())
	h.append(t, created(stream, "a"))
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				h.append(t, newEntities(5)...)
				h.append(t, updated(stream, n))
				h.publish(t, broker.JetStream, streamEnd(t, broker.JetStream))
			}
		}
	})
	for range 5 {
		report, err := Verify(t.Context(), h.options, "entities", nil)
		require.NoError(t, err)
		require.Empty(t, report.Details)
	}
	close(done)
	writing.Wait()
}

// By itself, and again and again.
func TestVerifyIsScheduled(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	options := h.options
	options.VerifyEvery = time.Second
	h.run(t, New(options))
	h.reaches(t, h.append(t, newEntities(3)...))
	_, err := h.admin.Exec(t.Context(), `DELETE FROM entities_v1.entities WHERE key = 'k0'`)
	require.NoError(t, err)
	h.until(t, "two were done", func() bool {
		jobs, err := Jobs(t.Context(), h.admin)
		require.NoError(t, err)
		done := 0
		for _, j := range jobs {
			if j.State == StateCompleted && j.RequestedBy == bySchedule && j.Findings == 1 {
				done++
			}
		}
		return done >= 2
	})
}

func TestQuietIsFewEventsInAMinute(t *testing.T) {
	t.Parallel()
	var q quiet
	now := time.Now()
	for i, step := range []struct {
		after   time.Duration
		applied int64
		quiet   bool
	}{
		{0, 0, false}, {quietWindow / 2, 1, false}, {quietWindow, 10, true}, {2 * quietWindow, 10 + quietEvents, false}, {3 * quietWindow, 11 + quietEvents, true},
	} {
		q.see(now.Add(step.after), step.applied)
		require.Equal(t, step.quiet, q.now, fmt.Sprint("step ", i))
	}
}

package commands_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// What a loop has done can be read off its metrics.
func TestALoopTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	registry := telemetry.New("test")
	l := commands.New(commands.Options{
		Store: s.store, Codec: eventstore.NewCodec(domain.Kind[added]()), Folds: domain.Folds{"counter": counter{}},
		Log: slog.New(slog.DiscardHandler), Metrics: registry,
	})
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, _ = l.Submit(gone, submission(add{counter: "counter:1"}))
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan struct{})
	go func() {
		defer close(running)
		l.Run(ctx)
	}()
	for _, one := range []commands.Submission{
		keyed(add{counter: "counter:1", amount: 1}, "k", "h"),
		keyed(add{counter: "counter:1", amount: 1}, "k", "h"),
		keyed(add{counter: "counter:1", amount: 1}, "k", "other"),
		submission(add{counter: "counter:1"}),
		submission(add{counter: "counter:1", amount: limit}),
		dry(submission(add{counter: "counter:1", amount: 1})),
		submission(add{counter: "counter:1", panics: true}),
	} {
		_, _ = l.Submit(t.Context(), one)
	}
	stop()
	<-running
	_, _ = l.Submit(t.Context(), submission(add{counter: "counter:1"}))

	recorder := httptest.NewRecorder()
	registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := recorder.Body.String()
	for _, line := range []string{
		`hub_loop_commands_total{outcome="accepted"} 1`, `hub_loop_commands_total{outcome="replayed"} 1`,
		`hub_loop_commands_total{outcome="invalid"} 1`, `hub_loop_commands_total{outcome="unchanged"} 1`,
		`hub_loop_commands_total{outcome="conflict"} 1`, `hub_loop_commands_total{outcome="dry_run"} 1`,
		`hub_loop_commands_total{outcome="failed"} 1`, `hub_loop_commands_total{outcome="abandoned"} 1`,
		`hub_loop_commands_total{outcome="unavailable"} 1`,
		`hub_loop_turn_commands_count 7`, `hub_loop_wait_seconds_count 7`, `hub_loop_queued_commands 0`,
		`hub_loop_cache_reads_total{result="miss"} [1-9]`, `hub_loop_cache_reads_total{result="hit"} [1-9]`,
		`hub_loop_second_attempts_total [1-9]`, `hub_loop_resubmissions_total 0`, `hub_loop_cache_bytes [1-9]`,
		`hub_loop_turn_seconds_count{phase="load"} [1-9]`, `hub_loop_turn_seconds_count{phase="decide"} [1-9]`,
		`hub_loop_turn_seconds_count{phase="append"} [1-9]`, `hub_loop_turn_seconds_count{phase="locked"} [1-9]`,
	} {
		assert.Regexp(t, `(?m)^`+line, text)
	}
}

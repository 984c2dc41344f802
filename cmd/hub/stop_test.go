package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

// answered is what a request came to.
type answered struct {
	status int
	body   []byte
	err    error
}

// begin sends a request and returns at once.
func (h *hub) begin(method, path, token string, header map[string]string, body any) <-chan answered {
	done := make(chan answered, 1)
	go func() {
		response, text, err := h.do(h.t.Context(), method, path, token, header, body)
		if err != nil {
			done <- answered{err: err}
			return
		}
		done <- answered{response.StatusCode, text, nil}
	}()
	return done
}

// untilMetric waits until the metrics at base have a line.
func untilMetric(t *testing.T, base, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	h := &hub{t: t, base: base}
	for {
		_, text, err := h.do(ctx, http.MethodGet, "/metrics", "", nil, nil)
		require.NoError(t, err, "waiting for %s", line)
		if bytes.Contains(text, []byte("\n"+line+"\n")) {
			return
		}
	}
}

// A read that waits for a position which never comes is answered when the process
// stops, and does not hold it up.
func TestAStopAnswersTheReadsThatWait(t *testing.T) {
	t.Parallel()
	ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h := newDevHub(t)
	h.env = append(h.env, "HUB_OPS_ADDR="+ops)
	h.start()
	token := h.token("acme", "viewer")
	read := h.begin(http.MethodGet, "/api/v1/entities", token, after(1_000_000), nil)
	untilMetric(t, "http://"+ops, "hub_reads_waiting 1")
	exit := h.terminate()
	answer := hubtest.Wait(t, startTimeout, "the read to be answered", read)
	require.NoError(t, answer.err)
	assert.Equal(t, http.StatusServiceUnavailable, answer.status)
	assert.Contains(t, string(answer.body), `"projection_lagging"`)
	assert.Zero(t, exit)
}

// A command that has been taken is answered with its receipt by a process that was told
// to stop meanwhile.
func TestAStopFinishesTheTurn(t *testing.T) {
	t.Parallel()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	issuer := newIssuer(t)
	url := hubtest.Database(t, hubtest.LogAndViews())
	ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h := newServeHub(t, []string{
		"DATABASE_URL=" + url, "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + issuer, "HUB_OPS_ADDR=" + ops,
		fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)),
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}, "all")
	h.issuer = issuer
	h.start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")

	// Whoever holds the log's lock holds up the append of the turn.
	admin := hubtest.Pool(t, url, "")
	lock, err := admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `LOCK TABLE log_lock IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	command := h.begin(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	// Two: the command, and the question itself.
	untilMetric(t, "http://"+ops, "hub_http_requests_in_flight 2")
	h.process.Signal(syscall.SIGTERM)
	untilDraining(t, "http://"+ops)
	require.NoError(t, lock.Rollback(t.Context()))

	answer := hubtest.Wait(t, startTimeout, "the command to be answered", command)
	require.NoError(t, answer.err)
	require.Equal(t, http.StatusCreated, answer.status, "%s", answer.body)
	var r receipt
	require.NoError(t, json.Unmarshal(answer.body, &r))
	assert.Zero(t, h.process.Exit())
	var there bool
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM events WHERE stream = $1)`, "entity:"+r.ID).Scan(&there))
	assert.True(t, there)
}

// untilDraining waits until /readyz says that the process is stopping.
func untilDraining(t *testing.T, base string) {
	t.Helper()
	h := &hub{t: t, base: base}
	for deadline := time.Now().Add(startTimeout); ; {
		if h.get("/readyz", "", nil, nil) == http.StatusServiceUnavailable {
			return
		}
		require.True(t, time.Now().Before(deadline), "the process does not say that it stops")
	}
}

// Two processes of every role on one log: commands through both front doors while one
// of each role is killed. Whatever was acknowledged is there, once, in order, and the
// other front door shows it.
func TestTwoOfEveryRoleAndOneOfEachIsKilled(t *testing.T) {
	t.Parallel()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	issuer := newIssuer(t)
	shared := []string{
		"DATABASE_URL=" + hubtest.Database(t, hubtest.LogAndViews()), "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + issuer,
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}
	var fronts, doomed []*hub
	for replica := range 2 {
		query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
		env := append([]string{"HUB_QUERY_ADDR=" + query, "QUERY_API_URL=http://" + query}, shared...)
		var all []*hub
		for _, role := range []string{"relay", "projector", "reactor", "query-api"} {
			all = append(all, newServeHub(t, env, role))
		}
		front := newServeHub(t, env, "command-api")
		front.issuer = issuer
		all = append(all, front)
		for _, h := range all {
			h.launch()
		}
		fronts = append(fronts, front)
		if replica == 0 {
			doomed = all
		}
	}
	token := fronts[1].token("acme", "admin")
	fronts[1].defineType(token, "thing")

	w := &writers{acknowledged: map[string]bool{}, stop: make(chan struct{})}
	for i, front := range fronts {
		w.write(front, token, fmt.Sprint(i))
	}
	for _, h := range doomed {
		w.untilAcknowledged(t, 20)
		h.kill()
	}
	w.untilAcknowledged(t, 100)
	close(w.stop)
	w.group.Wait()

	there := map[string]bool{}
	events := fronts[1].replay()
	for i, e := range events {
		require.Equal(t, int64(i+1), e.Position)
		if e.Type == "member.changed" {
			continue
		}
		require.False(t, there[e.Data.Key], "%s is there twice", e.Data.Key)
		there[e.Data.Key] = true
	}
	for key := range w.acknowledged {
		require.True(t, there[key], "%s was acknowledged", key)
	}
	assert.Len(t, fronts[1].all(token, int64(len(events))), len(there)-1, "all but the type are entities")
}

// writers create entities through some front doors and remember what was acknowledged.
type writers struct {
	group sync.WaitGroup
	stop  chan struct{}

	mutex        sync.Mutex
	acknowledged map[string]bool
	// enough is closed when there are target of them.
	enough chan struct{}
	target int
}

// write has four callers write through one front door until stop, or until it is gone.
func (w *writers) write(front *hub, token, name string) {
	for caller := range 4 {
		w.group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-w.stop:
					return
				default:
				}
				key := fmt.Sprintf("%s-%d-%d", name, caller, n)
				response, _, err := front.do(front.t.Context(), http.MethodPost, "/api/v1/entities", token, nil,
					map[string]any{"type": "thing", "key": key, "attributes": map[string]any{}})
				if err != nil {
					return // killed
				}
				if response.StatusCode == http.StatusCreated {
					w.took(key)
				}
			}
		})
	}
}

func (w *writers) took(key string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.acknowledged[key] = true
	if w.enough != nil && len(w.acknowledged) >= w.target {
		close(w.enough)
		w.enough = nil
	}
}

// untilAcknowledged waits for so many more.
func (w *writers) untilAcknowledged(t *testing.T, more int) {
	t.Helper()
	w.mutex.Lock()
	enough := make(chan struct{})
	w.target, w.enough = len(w.acknowledged)+more, enough
	w.mutex.Unlock()
	hubtest.Wait(t, startTimeout, "commands to be acknowledged", enough)
}

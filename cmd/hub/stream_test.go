package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// Law 5, as a consumer from outside sees it.
func TestTheStreamIsTheLog(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append(h.env, "HUB_DEV_NATS_ADDR="+address)
	h.start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	for range 10 {
		h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	}

	conn, err := nats.Connect("nats://" + address)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	consumer, err := js.OrderedConsumer(t.Context(), "HUB_EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"hub.events.acme.>"}})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	t.Cleanup(messages.Stop)
	for _, event := range h.replay() {
		message, err := messages.Next(jetstream.NextContext(t.Context()))
		require.NoError(t, err)
		metadata, err := message.Metadata()
		require.NoError(t, err)
		assert.Equal(t, uint64(event.Position), metadata.Sequence.Stream)
		assert.Equal(t, "hub.events.acme."+event.Type, message.Subject())
		assert.Equal(t, fmt.Sprint(event.Position), message.Headers().Get("ce-position"))
		assert.True(t, strings.HasPrefix(string(message.Data()), "{"))
	}

	// Nobody makes events but the hub. What the server itself was talked into is gone again,
	// and whoever reads then has the log.
	refused := make(chan error, 10)
	conn.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	require.NoError(t, conn.Publish("hub.events.acme.entity.created", []byte("{}")))
	require.ErrorContains(t, hubtest.Wait(t, time.Minute, "a refusal", refused), "hub.events.acme.entity.created")
	require.Error(t, js.DeleteStream(t.Context(), "HUB_EVENTS"))
	require.NoError(t, conn.PublishRequest("$JS.API.INFO", "hub.events.acme.entity.created", nil))
	made, _ := h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	h.eventually("the stream is the log again", func() bool {
		message, err := js.Stream(t.Context(), "HUB_EVENTS")
		if err != nil {
			return false
		}
		last, err := message.GetMsg(t.Context(), uint64(made.Position))
		return err == nil && last.Header.Get("ce-position") == fmt.Sprint(made.Position)
	})
}

func TestTheOperatorsAddressHasProbesOnly(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	operations := &hub{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", hubtest.FreePort(t))}
	h.env = append(h.env, "HUB_OPS_ADDR="+strings.TrimPrefix(operations.base, "http://"))
	h.start()
	assert.Equal(t, http.StatusOK, operations.get("/livez", "", nil, nil))
	assert.Equal(t, http.StatusOK, operations.get("/readyz", "", nil, nil))
	assert.Equal(t, http.StatusNotFound, operations.get("/api/v1/entities", "", nil, nil))
}

// tail prints what is appended while it runs, of the organisation asked for, and ends
// with its interruption.
func TestTailPrintsWhatIsAppended(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append(h.env, "HUB_DEV_NATS_ADDR="+address)
	h.start()
	acme, other := h.token("acme", "admin"), h.token("other", "admin")
	h.defineType(acme, "thing")
	h.defineType(other, "thing")
	defined := []string{"--type", "entity_type.defined"} // beside what the directory records
	for _, nats := range []string{"", "nats://" + address} {
		for _, c := range []struct {
			args []string
			want []string
		}{
			{[]string{"--after", "0"}, []string{"acme", "other"}},
			{[]string{"--after", "0", "--org", "other"}, []string{"other"}},
			{[]string{"--after", "0", "--tag", "entity_type:thing"}, []string{"acme", "other"}},
		} {
			lines, interrupt := h.tail(slices.Concat(c.args, defined, []string{"--output", "json"}), "NATS_URL="+nats)
			for _, want := range c.want {
				line := hubtest.Wait(t, time.Minute, "a line of tail", lines)
				var event struct{ Org string }
				require.NoError(t, json.Unmarshal([]byte(line), &event))
				assert.Equal(t, want, event.Org)
			}
			interrupt()
		}
	}
}

// tail starts hub events tail; interrupt sends it an interrupt and expects it to end well.
func (h *hub) tail(args []string, env ...string) (lines <-chan string, interrupt func()) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), hubtest.Binary(h.t), append([]string{"events", "tail"}, args...)...)
	cmd.Env = append(h.environ(), env...)
	cmd.Stderr = h.t.Output()
	output, err := cmd.StdoutPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, cmd.Start())
	found := make(chan string)
	go func() {
		defer close(found)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			found <- scanner.Text()
		}
	}()
	return found, func() {
		require.NoError(h.t, cmd.Process.Signal(os.Interrupt))
		for line := range found {
			h.t.Errorf("unexpected line %s", line)
		}
		require.NoError(h.t, cmd.Wait())
	}
}

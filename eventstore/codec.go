package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// MaxEventBytes bounds one event, its data and what describes it. That keeps its
// message, in which text may grow threefold, below NATS's default max_payload of
// 1 MiB; the table checks it for the data.
const MaxEventBytes = 256 << 10

// MaxDescriptionBytes bounds what describes an event beside its data: a message to
// JetStream has it in its headers, of which there can be 64 KiB, and there it is longer
// by quotes and escapes. An entity with 500 relationships that is archived needs 24 KiB.
const MaxDescriptionBytes = 36 << 10

// Codec turns payloads into stored bytes and stored events into facts.
type Codec struct{ kinds map[string]domain.EventKind }

// NewCodec makes a codec of all event types the program knows. Naming a type twice
// is a fault of the program and panics.
func NewCodec(kinds ...domain.EventKind) *Codec {
	c := &Codec{kinds: make(map[string]domain.EventKind, len(kinds))}
	for _, k := range kinds {
		if _, twice := c.kinds[k.Type]; twice {
			panic("eventstore: event type " + k.Type + " is declared twice")
		}
		c.kinds[k.Type] = k
	}
	return c
}

// Knows reports whether events of this type can be decoded.
func (c *Codec) Knows(eventType string) bool {
	_, known := c.kinds[eventType]
	return known
}

// Types are all that it knows, sorted.
func (c *Codec) Types() []string { return slices.Sorted(maps.Keys(c.kinds)) }

// Encode gives the stored name, schema version and bytes of a payload.
func (c *Codec) Encode(p domain.Payload) (eventType string, schemaVersion int, data []byte, err error) {
	kind, known := c.kinds[p.EventType()]
	if !known {
		return "", 0, nil, fmt.Errorf("event type %s is not in the codec", p.EventType())
	}
	// Not json.Marshal, which would turn < and & into escapes that nobody sent.
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p); err != nil {
		return "", 0, nil, fmt.Errorf("encoding %s: %w", kind.Type, err)
	}
	data = bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	return kind.Type, kind.SchemaVersion, data, nil
}

// Fact decodes a stored event, upcast to the current schema version. A type or
// schema version that this program does not know is an Unavailable problem,
// unknown_event: deciding without it could be wrong.
func (c *Codec) Fact(e domain.Event) (domain.Fact, error) {
	kind, known := c.kinds[e.Type]
	if !known {
		return domain.Fact{}, unknownEvent(fmt.Errorf("%w: event type %s is not known", domain.ErrNewer, e.Type))
	}
	payload, err := kind.Decode(e.SchemaVersion, e.Data)
	if err != nil {
		return domain.Fact{}, unknownEvent(err)
	}
	return domain.Fact{ID: e.ID, Stream: e.Stream, Tags: e.Tags, Subjects: e.Subjects, Payload: payload}, nil
}

// unknownEvent hides the cause from callers and keeps it for the log.
func unknownEvent(cause error) error {
	p := problem.New(problem.Unavailable, "unknown_event",
		"This server is older than the data it would have to decide on. Try again when the upgrade is complete.").Retry(30 * time.Second)
	return fmt.Errorf("%w (%w)", p, cause)
}

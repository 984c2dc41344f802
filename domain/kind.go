package domain

import (
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// ErrNewer marks an event that a newer program wrote: this one does not know its type
// or schema version.
var ErrNewer = errors.New("a newer program wrote this")

// Upcaster turns the data of one schema version into that of the next.
type Upcaster func(json.RawMessage) (json.RawMessage, error)

// EventKind says how one type of event is read: its stored name, the schema
// version written now, and how older versions become it.
type EventKind struct {
	Type          string
	SchemaVersion int
	// upcasters[i] turns version i+1 into i+2.
	upcasters []Upcaster
	decode    func([]byte) (Payload, error)
}

// asWritten reads what encoding/json wrote by its rules, in a bit more than half of its time:
// all events are read by each view and each cold boundary.
var asWritten = jsonv1.DefaultOptionsV1()

// Kind declares the event type whose payload is P. Its schema version is one more
// than the number of upcasters, so a new version cannot be declared without the
// way to read the old one.
func Kind[P Payload](upcasters ...Upcaster) EventKind {
	var zero P
	return EventKind{
		Type:          zero.EventType(),
		SchemaVersion: len(upcasters) + 1,
		upcasters:     upcasters,
		decode: func(data []byte) (Payload, error) {
			var p P
			if err := jsonv2.Unmarshal(data, &p, asWritten); err != nil {
				return nil, err
			}
			return p, nil
		},
	}
}

// Decode reads data of any schema version up to the current one. A newer version
// is an error: skipping or guessing would decide on half of the truth.
func (k EventKind) Decode(schemaVersion int, data []byte) (Payload, error) {
	if schemaVersion < 1 || schemaVersion > k.SchemaVersion {
		return nil, fmt.Errorf("%w: event %s has schema version %d, this program reads up to %d", ErrNewer, k.Type, schemaVersion, k.SchemaVersion)
	}
	for v := schemaVersion; v < k.SchemaVersion; v++ {
		var err error
		if data, err = k.upcasters[v-1](data); err != nil {
			return nil, fmt.Errorf("upcasting %s from schema version %d: %w", k.Type, v, err)
		}
	}
	p, err := k.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", k.Type, err)
	}
	return p, nil
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamName is the JetStream stream that holds the copy of the log.
const StreamName = "HUB_EVENTS"

// MaxMessageBytes bounds a message, headers included. An encoded event is at most
// 256 KiB, of which a header needs up to three bytes for one; the rest is room for
// the names. It is also what a NATS server takes by default.
const MaxMessageBytes = 1 << 20

// duplicateWindow is short on purpose: the expected sequence keeps duplicates out,
// and the server holds every id of the window in memory.
const duplicateWindow = time.Second

// StreamConfig is what an operator decides about the stream.
type StreamConfig struct {
	// Replicas of the stream in a NATS cluster; 0 means 1.
	Replicas int
	// MaxAge and MaxBytes are how much is kept, 0 for no limit. The oldest goes
	// first, and whoever needs that reads the log.
	MaxAge   time.Duration
	MaxBytes int64
	// FirstSeq is the position that a new stream starts at; 0 means 1. It does
	// nothing to a stream that exists.
	FirstSeq uint64
	// Log is the log that the stream is a copy of (History.Log).
	Log uuid.UUID
}

// metadataLog is where a stream says of which log it is a copy. That tells a log that
// has lost its end from a NATS that belongs to another hub.
const metadataLog = "hub-log"

// errForeign means that nothing may be done to the stream.
var errForeign = errors.New("the stream " + StreamName + " holds the events of another log: give each hub a NATS account of its own, or delete the stream if that log is no more")

// EnsureStream creates the stream, or brings one that exists to this configuration,
// and returns it with its state as cached info. It refuses one with events of another log.
func EnsureStream(ctx context.Context, js jetstream.JetStream, config StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		wanted := jetstream.StreamConfig{Name: StreamName, FirstSeq: max(config.FirstSeq, 1)}
		config.apply(&wanted)
		// A relay that creates the same stream at the same time does no harm: to
		// the server it is the same request twice.
		if stream, err = js.CreateStream(ctx, wanted); err != nil {
			return nil, fmt.Errorf("creating stream %s: %w", StreamName, err)
		}
		return stream, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding stream %s: %w", StreamName, err)
	}
	found := stream.CachedInfo().Config
	if stream.CachedInfo().State.Msgs > 0 && found.Metadata[metadataLog] != config.Log.String() {
		return nil, errForeign
	}
	wanted := found
	config.apply(&wanted)
	if reflect.DeepEqual(found, wanted) {
		return stream, nil
	}
	if stream, err = js.UpdateStream(ctx, wanted); err != nil {
		return nil, fmt.Errorf("updating stream %s: %w", StreamName, err)
	}
	return stream, nil
}

// apply sets what we decide and leaves the rest as the server has it.
func (c StreamConfig) apply(to *jetstream.StreamConfig) {
	to.Description = "The event log, oldest first: the sequence of a message is its position."
	to.Subjects = []string{subjectRoot + ">"}
	to.Storage = jetstream.FileStorage
	to.Retention = jetstream.LimitsPolicy
	to.Discard = jetstream.DiscardOld
	to.Replicas = max(c.Replicas, 1)
	to.MaxAge = c.MaxAge
	to.MaxBytes = c.MaxBytes
	if c.MaxBytes <= 0 {
		to.MaxBytes = -1
	}
	to.MaxMsgSize = MaxMessageBytes
	to.Duplicates = duplicateWindow
	if c.MaxAge > 0 {
		to.Duplicates = min(duplicateWindow, c.MaxAge)
	}
	to.DenyDelete = true
	to.DenyPurge = true
	to.AllowDirect = true
	to.Metadata = maps.Clone(to.Metadata)
	if to.Metadata == nil {
		to.Metadata = map[string]string{}
	}
	to.Metadata[metadataLog] = c.Log.String()
}

// checkPayloadLimit refuses a server on which an event within the contract's limits
// could block all that come after it.
func checkPayloadLimit(conn *nats.Conn) error {
	if limit := conn.MaxPayload(); limit < MaxMessageBytes {
		return fmt.Errorf("the NATS server takes messages of at most %d bytes and an event may need %d: set its max_payload to at least that",
			limit, MaxMessageBytes)
	}
	return nil
}

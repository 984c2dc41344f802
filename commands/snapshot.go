package commands

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// snapshotEvery is how many events a boundary gets between snapshots: fewer than are
	// read in one trip, so that one trip is all that a snapshot leaves to read.
	snapshotEvery = 1000
	// maxPending and maxSaved bound what waits to be saved, and what is saved at once.
	// What does not fit is offered again with the boundary's next event.
	maxPending = 64
	maxSaved   = 16
	// saveTimeout bounds one saving; nobody waits for it.
	saveTimeout = 10 * time.Second
	// takeUpTimeout bounds reading snapshots, which may be under the log's lock.
	takeUpTimeout = time.Second
)

// snapshots keeps the states of long boundaries outside the process, and takes them up
// where one would have to be read from its first event. It works beside the loop and
// can fail as it likes: what is not there is folded from the log.
type snapshots struct {
	store *eventstore.Store
	// fingerprint is of the program; nil keeps none.
	fingerprint func() []byte
	pending     chan pendingSnapshot
	log         *slog.Logger
	// What became of them.
	saved, failed, used, ignored *telemetry.Counter
}

// pendingSnapshot is a state as of an event of the log.
type pendingSnapshot struct {
	boundary eventstore.Boundary
	folded   folded
	event    uuid.UUID
}

func newSnapshots(o Options) *snapshots {
	results := o.Metrics.Counters("hub_loop_snapshots_total", "Snapshots of long boundaries: saved, not saved for a fault, used, found but not fit for use.",
		telemetry.Label{Name: "result", Values: []string{"saved", "failed", "used", "ignored"}})
	return &snapshots{
		store: o.Store, fingerprint: o.Fingerprint, pending: make(chan pendingSnapshot, maxPending), log: o.Log,
		saved: results.With("saved"), failed: results.With("failed"), used: results.With("used"), ignored: results.With("ignored"),
	}
}

// offer reports whether the state of a boundary, as of an event at its head, will be
// saved.
func (s *snapshots) offer(boundary eventstore.Boundary, f folded, event uuid.UUID) bool {
	if _, kept := f.state.(domain.Kept); !kept || s.fingerprint == nil {
		return false
	}
	select {
	case s.pending <- pendingSnapshot{boundary, f, event}:
		return true
	default:
		return false
	}
}

// run saves what is offered until ctx ends.
func (s *snapshots) run(ctx context.Context) {
	for {
		select {
		case first := <-s.pending:
			batch := []pendingSnapshot{first}
			for len(batch) < maxSaved && len(s.pending) > 0 {
				batch = append(batch, <-s.pending)
			}
			if err := s.save(ctx, batch); err != nil && ctx.Err() == nil {
				s.failed.Add(float64(len(batch)))
				s.log.Warn("snapshots were not saved", slog.Any("error", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *snapshots) save(ctx context.Context, batch []pendingSnapshot) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	fingerprint := s.fingerprint()
	if fingerprint == nil {
		return errors.New("the program does not know its fingerprint")
	}
	latest := make(map[eventstore.Boundary]pendingSnapshot, len(batch))
	for _, one := range batch {
		latest[one.boundary] = one
	}
	var all []eventstore.Snapshot
	for _, one := range latest {
		made, err := one.encode(fingerprint)
		if err != nil {
			return err
		}
		if len(made.Data) <= eventstore.MaxSnapshotBytes {
			all = append(all, made)
		}
	}
	if err := s.store.SaveSnapshots(ctx, fingerprint, all); err != nil {
		return err
	}
	s.saved.Add(float64(len(all)))
	return nil
}

// takeUp continues boundaries that are behind from their snapshots. What fails here
// costs time only, also under the log's lock: it is not read in that transaction, which
// a failure would end.
func (t *turn) takeUp(ctx context.Context, boundaries []eventstore.Boundary) {
	s := t.loop.snapshots
	var wanted []eventstore.Boundary
	for _, boundary := range boundaries {
		if _, kept := t.base[boundary].state.(domain.Kept); kept && t.unreadable[boundary] == nil {
			wanted = append(wanted, boundary)
		}
	}
	if len(wanted) == 0 || s.fingerprint == nil {
		return
	}
	fingerprint := s.fingerprint()
	if fingerprint == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, takeUpTimeout)
	defer cancel()
	found, err := s.store.Snapshots(ctx, fingerprint, wanted)
	if err != nil {
		s.log.Warn("snapshots were not read", slog.Any("error", err))
		return
	}
	for _, one := range found {
		if one.Position <= t.base[one.Boundary].head {
			continue
		}
		f, err := decodeSnapshot(one, fingerprint, t.empty(one.Tag).state.(domain.Kept))
		if err != nil {
			s.ignored.Inc()
			s.log.Warn("a snapshot was not fit for use", slog.Any("error", err))
			continue
		}
		s.used.Inc()
		t.base[one.Boundary], t.states[one.Boundary] = f, f
	}
}

// snapshotContent is what a snapshot holds beside the checksum in front of it.
type snapshotContent struct {
	Version          int64
	Created, Updated Stamp
	State            []byte
}

func (p pendingSnapshot) encode(fingerprint []byte) (eventstore.Snapshot, error) {
	made := eventstore.Snapshot{Boundary: p.boundary, Position: p.folded.head, EventID: p.event}
	state, err := p.folded.state.(domain.Kept).Keep()
	if err != nil {
		return made, fmt.Errorf("keeping a state: %w", err)
	}
	var content bytes.Buffer
	if err := gob.NewEncoder(&content).Encode(snapshotContent{p.folded.version, p.folded.created, p.folded.updated, state}); err != nil {
		return made, fmt.Errorf("encoding a snapshot: %w", err)
	}
	made.Data = append(checksum(made, fingerprint, content.Bytes()), content.Bytes()...)
	return made, nil
}

func decodeSnapshot(s eventstore.Snapshot, fingerprint []byte, empty domain.Kept) (f folded, err error) {
	defer recoverInto(&err)
	if len(s.Data) < sha256.Size || !bytes.Equal(s.Data[:sha256.Size], checksum(s, fingerprint, s.Data[sha256.Size:])) {
		return f, errors.New("a snapshot is not as it was written")
	}
	var content snapshotContent
	if err := gob.NewDecoder(bytes.NewReader(s.Data[sha256.Size:])).Decode(&content); err != nil {
		return f, fmt.Errorf("decoding a snapshot: %w", err)
	}
	state, err := empty.Restore(content.State)
	if err != nil {
		return f, fmt.Errorf("restoring a state: %w", err)
	}
	return folded{state: state, version: content.Version, head: s.Position, created: content.Created, updated: content.Updated}, nil
}

// checksum covers all that a snapshot says, so that a row that was damaged, or put under
// another name, is not believed.
func checksum(s eventstore.Snapshot, fingerprint, content []byte) []byte {
	hash := sha256.New()
	for _, part := range [][]byte{
		fingerprint, []byte(s.Org), []byte(s.Tag), binary.BigEndian.AppendUint64(nil, uint64(s.Position)), s.EventID[:], content, //nolint:gosec // a position is positive
	} {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	return hash.Sum(nil)
}

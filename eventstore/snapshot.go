package eventstore

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// MaxSnapshotBytes bounds the data of a snapshot; the table checks it.
const MaxSnapshotBytes = 1 << 20

// Snapshot is what the events of a boundary came to, as bytes that the log does not
// look into. EventID is of the event at Position, of whatever boundary, up to which it
// reaches: the log has it, or the snapshot is of a history that was lost.
type Snapshot struct {
	Boundary
	Position int64
	EventID  uuid.UUID
	Data     []byte
}

// SaveSnapshots keeps snapshots in place of older ones. fingerprint is of the program
// that folded them. RoleCommand only.
func (s *Store) SaveSnapshots(ctx context.Context, fingerprint []byte, snapshots []Snapshot) error {
	var (
		orgs, tags []string
		positions  []int64
		ids        [][16]byte
		data       [][]byte
	)
	for _, one := range snapshots {
		orgs, tags = append(orgs, one.Org), append(tags, string(one.Tag))
		positions, ids, data = append(positions, one.Position), append(ids, one.EventID), append(data, one.Data)
	}
	if _, err := s.pool.Exec(ctx, `SELECT save_snapshots($1, $2, $3, $4, $5, $6)`, orgs, tags, positions, ids, fingerprint, data); err != nil {
		return fmt.Errorf("saving snapshots: %w", err)
	}
	return nil
}

// Snapshots gives those of the boundaries that a program with this fingerprint made and
// whose event the log has, in no order. RoleCommand only.
func (s *Store) Snapshots(ctx context.Context, fingerprint []byte, of []Boundary) ([]Snapshot, error) {
	var orgs, tags []string
	for _, boundary := range of {
		orgs, tags = append(orgs, boundary.Org), append(tags, string(boundary.Tag))
	}
	rows, err := s.pool.Query(ctx, `SELECT boundary, position, event_id, data FROM load_snapshots($1, $2, $3)`, orgs, tags, fingerprint)
	if err != nil {
		return nil, fmt.Errorf("loading snapshots: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Snapshot, error) {
		var (
			one    Snapshot
			number int
		)
		err := row.Scan(&number, &one.Position, &one.EventID, &one.Data)
		if err == nil {
			one.Boundary = of[number-1]
		}
		return one, err
	})
	if err != nil {
		return nil, fmt.Errorf("loading snapshots: %w", err)
	}
	return found, nil
}

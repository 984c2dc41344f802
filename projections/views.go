package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Listing is a view as the database has it, whoever writes it.
type Listing struct {
	Name     string    `json:"name"`
	Version  int       `json:"version"`
	Schema   string    `json:"schema"`
	Position int64     `json:"position"`
	Epoch    uuid.UUID `json:"epoch"`
	// UpdatedAt is when it moved last.
	UpdatedAt time.Time `json:"updated_at"`
	// Previous is the schema that a rollback goes back to, PreviousPosition how far that
	// is kept up.
	Previous         string `json:"previous,omitempty"`
	PreviousPosition int64  `json:"previous_position,omitempty"`
	// Parked is how many streams wait in it.
	Parked int `json:"parked"`
	// Err says why it does not go on.
	Err string `json:"error,omitempty"`
	// Idle is for how long it has not moved, by the database's clock.
	Idle time.Duration `json:"-"`
}

// List reads all views by name. RoleProjector or RoleQuery.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Listing, error) {
	rows, err := pool.Query(ctx, `
		SELECT p.name, p.version, p.schema, c.position, c.epoch, c.updated_at, coalesce(p.previous, ''), coalesce(b.position, 0),
		       (SELECT count(k.schema) FROM view_parked k WHERE k.schema = p.schema), p.fault,
		       extract(epoch FROM clock_timestamp() - c.updated_at)::float8
		  FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema
		  LEFT JOIN view_checkpoints b ON b.schema = p.previous ORDER BY p.name`)
	if err != nil {
		return nil, fmt.Errorf("listing views: %w", err)
	}
	views, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Listing, err error) {
		var seconds float64
		err = row.Scan(&l.Name, &l.Version, &l.Schema, &l.Position, &l.Epoch, &l.UpdatedAt, &l.Previous, &l.PreviousPosition,
			&l.Parked, &l.Err, &seconds)
		l.UpdatedAt, l.Idle = l.UpdatedAt.UTC(), time.Duration(seconds*float64(time.Second))
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing views: %w", err)
	}
	return views, nil
}

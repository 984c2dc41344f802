package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// UseTicket notes that a ticket of an event stream is used, and reports whether this is
// the first time, whichever processes use it at once. expires is when the ticket does.
// RoleQuery only.
func (s *Store) UseTicket(ctx context.Context, id uuid.UUID, expires time.Time) (first bool, err error) {
	if err = s.pool.QueryRow(ctx, `SELECT use_stream_ticket($1, $2)`, id, expires).Scan(&first); err != nil {
		return false, fmt.Errorf("using a ticket: %w", err)
	}
	return first, nil
}

package commands

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// Resource is what a command is about, in the state in which the command left it:
// all that an area needs to show it as its view will.
type Resource struct {
	ID      string
	State   domain.State
	Version int64
	// Created and Updated are of the first and the last event of its stream.
	Created, Updated Stamp
}

func (f folded) resource(id string) *Resource {
	return &Resource{ID: id, State: f.state, Version: f.version, Created: f.created, Updated: f.updated}
}

// represented is the answer to a call with the resource that it asks for. A turn gives
// that along; only for an answer that was stored is it read, as of that answer. The
// command is done whatever happens here, so a resource that cannot be had is left out.
func (l *Loop) represented(ctx context.Context, c *call) (Receipt, error) {
	r := c.receipt
	if c.err != nil || c.Represent == "" {
		return r, c.err
	}
	if err := l.represent(ctx, c, &r); err != nil {
		l.log.Warn("the resource of a receipt could not be shown", slog.Any("error", err))
		r.Resource = nil
	}
	return r, nil
}

func (l *Loop) represent(ctx context.Context, c *call, r *Receipt) error {
	if r.Resource != nil {
		return l.unveil(ctx, c, r.Resource)
	}
	boundary := eventstore.Boundary{Org: c.Meta.Org, Tag: domain.NewTag(c.Represent, r.ID)}
	f, err := l.stateAt(ctx, boundary, r.Position)
	if err != nil {
		return err
	}
	r.Resource = f.resource(r.ID)
	return l.unveil(ctx, c, r.Resource)
}

// stateAt folds a boundary as it was at a position. One at a time: the loop needs the
// connections.
func (l *Loop) stateAt(ctx context.Context, boundary eventstore.Boundary, position int64) (f folded, err error) {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return f, ctx.Err()
	}
	state, known := l.folds[boundary.Tag.Kind()]
	if !known {
		return f, fmt.Errorf("no fold reads boundaries like %q", boundary.Tag)
	}
	f.state = state
	for read, more := 0, true; more; {
		var events []eventstore.BoundaryEvent
		if events, more, err = l.store.Load(ctx, []eventstore.Mark{{Boundary: boundary, Head: f.head}}); err != nil {
			return f, err
		}
		if read += len(events); read > maxEvents {
			return f, tooLong(boundary)
		}
		for _, loaded := range events {
			if loaded.Event.Position > position {
				return f, nil
			}
			if f, err = l.fold(f, boundary.Tag, loaded.Event); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

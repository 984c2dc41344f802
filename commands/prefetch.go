package commands

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// prefetch loads what the calls name, all of them together, in as many reads as
// the command with the longest chain needs.
func (t *turn) prefetch(ctx context.Context) error {
	rounds := 0
	for _, c := range t.calls {
		rounds = max(rounds, c.rounds())
	}
	// open are the calls that may name more once they see what they have named.
	open := t.calls
	subjects, fresh := []keyring.Ref(nil), make(map[keyring.Ref]bool)
	for range rounds {
		missing, calls := make(map[eventstore.Boundary]bool), open
		open = nil
		for _, c := range calls {
			named, err := t.named(c)
			if err != nil {
				continue // decide meets the same fault and answers the call with it
			}
			for _, boundary := range named {
				missing[boundary] = true
			}
			if len(named) > 0 || len(t.vault.wanted) > 0 {
				open = append(open, c)
				continue
			}
			subjects = append(subjects, c.needs.subjects...)
			c.invented(fresh)
		}
		if len(open) == 0 {
			return t.unlock(ctx, subjects, fresh)
		}
		if err := t.lookUpTokens(ctx); err != nil {
			return err
		}
		if err := t.loadAll(ctx, slices.Collect(maps.Keys(missing))); err != nil {
			return err
		}
	}
	return nil
}

// invented adds the subjects that the call has made up: nobody else can know their ids.
func (c *call) invented(fresh map[keyring.Ref]bool) {
	if decider, ok := c.Decider.(domain.Fresher); ok {
		for _, tag := range decider.Fresh() {
			fresh[keyring.Ref{Org: c.Meta.Org, Subject: tag.Name()}] = true
		}
	}
}

// named lists the boundaries that a call names and the turn does not have yet; the
// cache's are taken in on the way.
func (t *turn) named(c *call) (missing []eventstore.Boundary, err error) {
	defer recoverInto(&err)
	if fresh, ok := c.Decider.(domain.Fresher); ok {
		for _, tag := range fresh.Fresh() {
			t.adopt(eventstore.Boundary{Org: c.Meta.Org, Tag: tag}, t.empty(tag))
		}
	}
	for adopted := true; adopted; {
		missing, adopted, c.needs = nil, false, needs{}
		for _, tag := range c.Decider.Boundaries(view{turn: t, org: c.Meta.Org, needs: &c.needs}) {
			if !tag.Boundary() {
				c.needs.subject(keyring.Ref{Org: c.Meta.Org, Subject: tag.Name()})
				continue
			}
			boundary := eventstore.Boundary{Org: c.Meta.Org, Tag: tag}
			if _, loaded := t.states[boundary]; loaded {
				continue
			}
			t.empty(tag)
			if cached, found := t.loop.cache.get(boundary); found && !t.locked {
				t.adopt(boundary, cached)
				t.loop.metrics.cacheHits.Inc()
				adopted = true // seeing it, the command may name more
				continue
			}
			missing = append(missing, boundary)
		}
	}
	return missing, nil
}

func (t *turn) adopt(boundary eventstore.Boundary, f folded) {
	if _, loaded := t.base[boundary]; !loaded {
		t.base[boundary], t.states[boundary] = f, f
	}
}

// loadAll reads boundaries from the start of the log.
func (t *turn) loadAll(ctx context.Context, boundaries []eventstore.Boundary) error {
	for _, boundary := range boundaries {
		t.loop.metrics.cacheMisses.Inc()
		t.adopt(boundary, t.empty(boundary.Tag))
	}
	return t.advance(ctx, boundaries)
}

// loadFor loads what a call names only now, because of what commands before it in
// the turn have done. A fault is the call's own; err is the log's.
func (t *turn) loadFor(ctx context.Context, c *call) (fault, err error) {
	for range c.rounds() {
		missing, fault := t.named(c)
		wanted := len(t.vault.wanted) > 0
		switch {
		case fault != nil:
			return fault, nil
		case len(missing) == 0 && !wanted:
			fresh := make(map[keyring.Ref]bool)
			c.invented(fresh)
			return nil, t.unlock(ctx, c.needs.subjects, fresh)
		}
		if err := t.lookUpTokens(ctx); err != nil {
			return nil, err
		}
		if err := t.loadAll(ctx, missing); err != nil {
			return nil, err
		}
		for _, boundary := range missing {
			for _, m := range t.unread[boundary] {
				t.states[boundary] = t.states[boundary].apply(boundary.Tag, m.fact, m.by)
			}
		}
	}
	return fmt.Errorf("a command named further boundaries %d times", c.rounds()), nil
}

// rounds is how often the call may name further boundaries.
func (c *call) rounds() int {
	if walker, ok := c.Decider.(domain.Walker); ok {
		return max(maxRounds, walker.Rounds())
	}
	return maxRounds
}

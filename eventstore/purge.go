package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// purgePages is what one transaction goes through: some 10,000 receipts, whose rows
	// it deletes in a tenth of a second.
	purgePages = 128
	// purgeInterval and purgeRounds: every interval does its share of the table, so that
	// all of it is gone through once a day and a receipt is kept for 7 to 8 days.
	purgeInterval = time.Minute
	purgeRounds   = int64(24 * time.Hour / purgeInterval)
)

// Purge deletes receipts that are past their life of 7 days. PostgreSQL holds it to that
// (policy purge_deletes). Any number may run at once.
type Purge struct {
	store            *Store
	log              *slog.Logger
	interval         time.Duration
	next             int64
	purged, failures *telemetry.Counter
	seconds          *telemetry.Histogram
}

// NewPurge makes a purge over a store of RoleCommand; Run starts it.
func NewPurge(store *Store, log *slog.Logger, metrics *telemetry.Registry) *Purge {
	return &Purge{
		store: store, log: log, interval: purgeInterval,
		purged:   metrics.Counter("hub_receipts_purged_total", "Receipts that were deleted after their life of 7 days."),
		failures: metrics.Counter("hub_receipts_purge_failures_total", "Times that receipts could not be purged; tried again a minute later."),
		seconds:  metrics.Histogram("hub_receipts_purge_seconds", "Time that deleting took, by transaction.", telemetry.Seconds()),
	}
}

// Run purges until ctx ends. It begins at the start of the table.
func (p *Purge) Run(ctx context.Context) error {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := p.share(ctx); err != nil && ctx.Err() == nil {
				p.failures.Inc()
				p.log.Error("receipts could not be purged", slog.Any("error", err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// share goes through an interval's share of the table, at least a transaction's worth.
func (p *Purge) share(ctx context.Context) error {
	for done := int64(0); ; {
		all, err := p.step(ctx, purgePages)
		done += purgePages
		if err != nil || done*purgeRounds >= all {
			return err
		}
	}
}

// step goes through some pages and returns how many the table has.
func (p *Purge) step(ctx context.Context, pages int) (all int64, err error) {
	begun := time.Now()
	var purged int64
	err = p.store.pool.QueryRow(ctx, `SELECT purged, next_page, all_pages FROM purge_receipts($1, $2)`, p.next, pages).Scan(&purged, &p.next, &all)
	if err != nil {
		return 0, fmt.Errorf("purging receipts: %w", err)
	}
	p.seconds.Observe(time.Since(begun).Seconds())
	p.purged.Add(float64(purged))
	return all, nil
}

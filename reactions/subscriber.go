package reactions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/lease"
)

const (
	// retryInterval is how often parked events are looked at.
	retryInterval = time.Second
	// skipInterval is how often the place is noted while there is nothing to react to.
	skipInterval = time.Second
	// A failure waits this long before the next attempt, doubling up to the last: long
	// enough not to fill the log, short enough to be back soon after its cause.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// subscriber brings Watermill's router the events of one reaction, in order, one at a
// time, while this process holds the reaction's lease.
type subscriber struct {
	options  Options
	reaction Reaction
	lease    *lease.Lease
	stop     context.CancelFunc

	// flight is held while a message is with the router.
	flight sync.Mutex

	mu     sync.Mutex
	status Status
	// show tells metrics of the status.
	show func(Status)
}

func newSubscriber(options Options, r Reaction) *subscriber {
	return &subscriber{
		options: options, reaction: r, status: Status{Name: r.Name}, stop: func() {}, show: func(Status) {},
		lease: lease.New(lease.Options{
			Pool: options.Pool, Table: lease.ViewTable, Name: "reaction:" + r.Name, TTL: options.LeaseTTL, Log: options.Log,
		}),
	}
}

// Subscribe implements message.Subscriber.
func (s *subscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	ctx, s.stop = context.WithCancel(ctx)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		s.lease.Run(ctx, func(ctx context.Context, _ int64) { s.lead(ctx, out) })
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (s *subscriber) Close() error {
	s.stop()
	return nil
}

// lead reacts until the lease is lost.
func (s *subscriber) lead(ctx context.Context, out chan<- *message.Message) {
	defer s.update(func(status *Status) { *status = Status{Name: s.reaction.Name} })
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		began := s.currentStatus().Position
		work, working := errgroup.WithContext(ctx)
		work.Go(func() error { return s.follow(working, out) })
		work.Go(func() error { return s.retry(working, out) })
		err := work.Wait()
		if ctx.Err() != nil {
			return
		}
		s.failed(err)
		if s.currentStatus().Position != began {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
	}
}

// follow brings the events after the reaction's place, until something fails.
func (s *subscriber) follow(ctx context.Context, out chan<- *message.Message) error {
	at, err := s.load(ctx)
	if err != nil {
		return err
	}
	s.at(at)
	events := subscription.New(subscription.Options{
		Store: s.options.Store, Feed: s.options.Feed, Filter: subscription.Filter{Types: s.reaction.Types}, Log: s.options.Log,
	})
	defer events.Close()
	noted, notedAt := at, time.Now() // what the database knows
	for {
		batch, err := events.Next(ctx, at)
		var forked *subscription.ForkedError
		if errors.As(err, &forked) {
			// What is reacted to once more has its effect once, or lost it with the log.
			s.options.Log.Warn("reactions: the log has lost its end; going back", "reaction", s.reaction.Name, "from", at.Position, "to", forked.From.Position)
			batch, err = subscription.Batch{At: forked.From}, s.advance(ctx, noted, forked.From)
			noted = forked.From
		}
		if err != nil {
			if noted != at {
				err = errors.Join(err, s.advance(ctx, noted, at))
			}
			return err
		}
		for _, e := range batch.Events {
			if err := s.react(ctx, out, e); err != nil {
				return err
			}
			at = subscription.Place{Position: e.Position, Epoch: batch.At.Epoch}
			if err := s.advance(ctx, noted, at); err != nil {
				return err
			}
			noted, notedAt = at, time.Now()
			s.at(at)
		}
		at = batch.At
		if noted != at && time.Since(notedAt) > skipInterval {
			if err := s.advance(ctx, noted, at); err != nil {
				return err
			}
			noted, notedAt = at, time.Now()
		}
		s.at(at)
	}
}

// react returns when an event is done with: its commands are on disk, or it is parked.
func (s *subscriber) react(ctx context.Context, out chan<- *message.Message, e domain.Event) error {
	s.flight.Lock()
	defer s.flight.Unlock()
	count, err := s.countParked(ctx)
	if err != nil {
		return err
	}
	if count > 0 {
		if parked, err := s.parkBehind(ctx, e); err != nil || parked {
			return err
		}
	}
	_, err = s.deliver(ctx, out, e)
	return err
}

// retry takes up parked events again, until something fails.
func (s *subscriber) retry(ctx context.Context, out chan<- *message.Message) error {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	reader := subscription.NewReader(s.options.Store, subscription.Filter{})
	for {
		if _, err := s.countParked(ctx); err != nil {
			return err
		}
		due, err := s.due(ctx)
		if err != nil {
			return err
		}
		for _, parked := range due {
			if err := s.retryOne(ctx, out, reader, parked); err != nil {
				return err
			}
		}
		if len(due) > 0 {
			continue // those behind them may be due now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (s *subscriber) retryOne(ctx context.Context, out chan<- *message.Message, reader *subscription.Reader, of parkedEvent) error {
	s.flight.Lock()
	defer s.flight.Unlock()
	batch, err := reader.Read(ctx, subscription.Place{Position: of.Position - 1}, of.Position)
	if err != nil {
		return err
	}
	if len(batch.Events) == 0 || batch.Events[0].ID != of.ID {
		return s.unpark(ctx, of.Position) // the log has lost it
	}
	parked, err := s.deliver(ctx, out, batch.Events[0])
	if err != nil || parked {
		return err
	}
	return s.unpark(ctx, of.Position)
}

// deliver hands an event to the router until it is done with, and reports whether that
// means parked.
func (s *subscriber) deliver(ctx context.Context, out chan<- *message.Message, e domain.Event) (parked bool, err error) {
	msg, err := deliver(ctx, out, func() *message.Message { return newMessage(ctx, e) }, func() { s.failed(errWaiting) })
	return err == nil && wasParked(msg), err
}

// deliver hands a message to the router until it is acknowledged. What is refused
// (nacked) waits for something that is away: that is said, and it is tried again. The
// message's context is ours, so that the end of it ends the attempt, too.
func deliver(ctx context.Context, out chan<- *message.Message, msg func() *message.Message, away func()) (*message.Message, error) {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		attempt := msg()
		select {
		case out <- attempt:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		select {
		case <-attempt.Acked():
			return attempt, nil
		case <-attempt.Nacked():
		}
		away()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(backoff):
		}
	}
}

// errWaiting says that an event is tried again and again.
var errWaiting = errors.New("an event waits for something that is away; the log says for what")

func (s *subscriber) currentStatus() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *subscriber) update(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
	s.show(s.status)
}

func (s *subscriber) at(p subscription.Place) {
	s.update(func(status *Status) { status.Leading, status.Position, status.Err = true, p.Position, "" })
}

// failed shows a failure; repeated ones are logged once.
func (s *subscriber) failed(err error) {
	says := "the database of the views does not answer"
	switch {
	case errors.Is(err, subscription.ErrLogAway):
		says = subscription.ErrLogAway.Error()
	case errors.Is(err, subscription.ErrLogHole), errors.Is(err, subscription.ErrLogBehind),
		errors.Is(err, errMoved), errors.Is(err, errWaiting), errors.Is(err, errParkingFull):
		says, _, _ = strings.Cut(err.Error(), "\n")
	}
	s.update(func(status *Status) {
		if status.Err != says {
			s.options.Log.Warn("reactions: reaction does not go on", "reaction", s.reaction.Name, "position", status.Position, "reason", says, "error", err)
		}
		status.Leading, status.Err = true, says
	})
}

// String names the subscriber in Watermill's words.
func (s *subscriber) String() string { return fmt.Sprintf("reactions.subscriber(%s)", s.reaction.Name) }

package reactions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// maxAttempts, with these pauses between, hold up a reaction for some three seconds
	// before an event is parked. (The middleware takes two steps of its back-off an
	// attempt when it is asked whether to try again; so the last interval bounds it.)
	maxAttempts   = 5
	firstInterval = 200 * time.Millisecond
	lastInterval  = time.Second
	// attemptTimeout is above what the loop takes to settle a turn at worst.
	attemptTimeout = 15 * time.Second
	// closeTimeout is for the attempts under way, whose contexts have ended by then.
	closeTimeout = 5 * time.Second
)

// commandIDs is the namespace (RFC 9562, §5.5) of the ids of commands that reactions give.
var commandIDs = uuid.MustParse("5a1a9f0c-6f0e-4f53-9d0e-6a0c6f3c7b11")

// actor is who the log says has given the commands of reactions. Contract: §4.
var actor = domain.Actor{Sub: "system:reactor", Person: "system:reactor"}

// router puts the parts together. The outermost comes first.
func (e *Engine) router() (*message.Router, error) {
	log := watermill.NewSlogLoggerWithLevelMapping(e.options.Log, map[slog.Level]slog.Level{
		slog.LevelInfo:  slog.LevelDebug, // each start and stop of each part
		slog.LevelError: slog.LevelDebug, // what fails is said by us, without the messages themselves
	})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, log)
	if err != nil {
		return nil, fmt.Errorf("making the router of reactions: %w", err)
	}
	park, err := middleware.PoisonQueueWithFilter(&parking{e.options}, "parked", func(err error) bool { return !isAway(err) })
	if err != nil {
		return nil, fmt.Errorf("making the router of reactions: %w", err)
	}
	if e.options.Conn != nil {
		seen := &seenSubscriber{options: e.options, stop: func() {}}
		router.AddConsumerHandler(membersName, SeenSubject, seen, (&memberSeer{e.options.Submit, newEnvelope(e.options.SeenKey)}).see).AddMiddleware(giveUp)
	}
	if e.timers != nil {
		parkTimers, err := middleware.PoisonQueueWithFilter(markedLater{}, "parked", func(err error) bool { return !isAway(err) })
		if err != nil {
			return nil, fmt.Errorf("making the router of reactions: %w", err)
		}
		router.AddConsumerHandler(timersName, timersName, e.timers, e.timers.handle).AddMiddleware(parkTimers)
	}
	for _, s := range e.subscribers {
		router.AddConsumerHandler(s.reaction.Name, s.reaction.Name, s, e.handler(s.reaction)).AddMiddleware(park)
	}
	router.AddMiddleware(e.explain, e.metrics.count,
		middleware.Retry{
			MaxRetries: maxAttempts - 1, InitialInterval: firstInterval, MaxInterval: lastInterval, Multiplier: 2,
			ShouldRetry:         func(p middleware.RetryParams) bool { return !isAway(p.Err) && !isRefused(p.Err) },
			ResetContextOnRetry: true, // the time-out of an attempt must not end the next
		}.Middleware,
		middleware.Timeout(attemptTimeout), countAttempt, middleware.Recoverer)
	return router, nil
}

// handler gives the commands that a reaction to a message consists of.
func (e *Engine) handler(r Reaction) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		event, err := eventOf(msg)
		if err != nil {
			return err
		}
		fact, err := e.options.Codec.Fact(event)
		if err != nil {
			return &unreadableError{err}
		}
		deciders, err := r.React(Event{Event: event, Payload: fact.Payload})
		if err != nil {
			return err
		}
		ctx, span := e.options.Tracer.Follow(msg.Context(), eventstore.CauseOf(event), telemetry.Consumer, "react "+r.Name)
		defer span.End()
		span.Number("hub.position", event.Position)
		for i, decider := range deciders {
			if _, err := e.options.Submit(ctx, submission(r.Name, event, i, decider)); err != nil {
				span.Fail("command_failed")
				return err
			}
		}
		return nil
	}
}

// submission has the same command id whenever the event is reacted to.
func submission(reaction string, cause domain.Event, number int, decider domain.Decider) commands.Submission {
	return commands.Submission{Decider: decider, Meta: domain.Meta{
		Org: cause.Org, Actor: actor, CorrelationID: cause.CorrelationID, CausationID: cause.ID.String(), RequestID: cause.RequestID,
		CommandID: uuid.NewSHA1(commandIDs, fmt.Appendf(nil, "%s/%s/%d", reaction, cause.ID, number)),
	}}
}

// unreadableError is an event that this program cannot decode. Waiting for a newer
// program would hold up all streams for the sake of one.
type unreadableError struct{ cause error }

func (e *unreadableError) Error() string { return e.cause.Error() }

// isAway says that an error is not the event's fault: it is tried again until it is over.
func isAway(err error) bool {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return false
	}
	if p := problem.Of(err); p != nil {
		return slices.Contains([]problem.Kind{problem.Unavailable, problem.OutcomeUnknown, problem.Throttled}, p.Kind)
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, errParkingFull)
}

// isRefused says that trying again at once cannot help.
func isRefused(err error) bool {
	var unreadable *unreadableError
	p := problem.Of(err)
	return errors.As(err, &unreadable) || errors.Is(err, errForged) || p != nil && p.Kind != problem.Internal
}

// describe says what went wrong without values of the event; the error itself goes to
// the log.
func describe(err error) string {
	var unreadable *unreadableError
	var panicked middleware.RecoveredPanicError
	p := problem.Of(err)
	switch {
	case errors.As(err, &unreadable):
		return "the event cannot be read by this program"
	case p != nil:
		return p.Error()
	case errors.As(err, &panicked):
		return "the reaction panicked; the log says where"
	case errors.Is(err, context.DeadlineExceeded):
		return "the reaction took too long"
	}
	return "the reaction failed; the log says why"
}

// explained is an error whose text may be kept and shown.
type explained struct{ cause error }

func (e *explained) Error() string { return describe(e.cause) }
func (e *explained) Unwrap() error { return e.cause }

// explain logs what a reaction fails with in the end, and hands on what may be kept.
func (e *Engine) explain(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		messages, err := next(msg)
		if err == nil {
			return messages, nil
		}
		if !errors.Is(err, context.Canceled) {
			e.options.Log.Warn("reactions: an event could not be reacted to", "reaction", message.HandlerNameFromCtx(msg.Context()),
				"position", msg.Metadata.Get(positionKey), "again", isAway(err), "error", err)
		}
		return messages, &explained{err}
	}
}

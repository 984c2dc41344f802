package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/members"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// membersName is the reaction to what observers tell. It has no place in the log and
// parks nothing: what is lost is told again.
const membersName = "members"

// reactorsGroup shares the messages of a subject out among all reactors.
const reactorsGroup = "reactors"

// What waits for a reactor is bounded; beyond that messages are lost, and told again.
const (
	maxSeenMessages = 4096
	maxSeenBytes    = 8 << 20
)

// seenSubscriber brings Watermill's router what observers tell, one at a time.
type seenSubscriber struct {
	options Options
	stop    context.CancelFunc
}

// Subscribe implements message.Subscriber.
func (s *seenSubscriber) Subscribe(ctx context.Context, subject string) (<-chan *message.Message, error) {
	told, err := s.options.Conn.QueueSubscribeSync(subject, reactorsGroup)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
	}
	if err := told.SetPendingLimits(maxSeenMessages, maxSeenBytes); err != nil {
		return nil, fmt.Errorf("bounding the subscription to %s: %w", subject, err)
	}
	ctx, s.stop = context.WithCancel(ctx)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		defer func() { _ = told.Unsubscribe() }() // fails only where the connection is closed
		s.forward(ctx, told, out)
	}()
	return out, nil
}

// forward ends with the context.
func (s *seenSubscriber) forward(ctx context.Context, told *nats.Subscription, out chan<- *message.Message) {
	for {
		received, err := told.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, nats.ErrSlowConsumer):
			s.options.Log.Warn("reactions: more members are seen than can be taken in; some are told another time")
			continue
		case err != nil: // the connection is closed for good
			s.options.Log.Warn("reactions: members are not seen any more", "error", err)
			<-ctx.Done()
			return
		}
		id := uuid.Must(uuid.NewV7()).String()
		_, err = deliver(ctx, out, func() *message.Message {
			return message.NewMessageWithContext(ctx, id, received.Data)
		}, func() {})
		if err != nil {
			return
		}
	}
}

// Close implements message.Subscriber.
func (s *seenSubscriber) Close() error {
	s.stop()
	return nil
}

// giveUp lets go of a message that trying again cannot help. What else fails waits, as
// with events.
func giveUp(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		messages, err := next(msg)
		if err != nil && !isAway(err) {
			return nil, nil
		}
		return messages, err
	}
}

// memberSeer takes what observers have told into the directory.
type memberSeer struct {
	submit Submit
	seal   *envelope
}

// see takes one message. Of a member who was erased, roles go on changing, and name and
// address are not taken again.
func (s *memberSeer) see(msg *message.Message) error {
	data, err := s.seal.open(msg.Payload)
	if err != nil {
		return err
	}
	var m SeenMember
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("reading a message about a member: %w", err)
	}
	err = s.take(msg, m)
	if p := problem.Of(err); p != nil && p.Code == "subject_erased" {
		m.Name, m.Email = "", ""
		err = s.take(msg, m)
	}
	return err
}

func (s *memberSeer) take(msg *message.Message, m SeenMember) error {
	_, err := s.submit(msg.Context(), commands.Submission{
		Decider: members.SeeMember{Seen: m.seen()},
		Meta:    domain.Meta{Org: m.Org, Actor: actor, CorrelationID: msg.UUID, Now: time.Now()},
	})
	return err
}

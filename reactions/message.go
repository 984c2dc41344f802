package reactions

import (
	"context"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
)

const (
	// positionKey is where relay.Encode writes the position.
	positionKey = "ce-position"
	// attemptsKey counts how often the reaction was tried with this message.
	attemptsKey = "attempts"
)

// newMessage is an event as it is on NATS: the id of the message is the event's, its
// metadata are the headers, its payload the data.
func newMessage(ctx context.Context, e domain.Event) *message.Message {
	encoded := relay.Encode(eventstore.LogEntry{Event: e})
	msg := message.NewMessageWithContext(ctx, e.ID.String(), e.Data)
	for name, values := range encoded.Header {
		msg.Metadata.Set(name, values[0])
	}
	return msg
}

// eventOf is the inverse of newMessage.
func eventOf(msg *message.Message) (domain.Event, error) {
	header := make(nats.Header, len(msg.Metadata))
	for name, value := range msg.Metadata {
		header[name] = []string{value}
	}
	return relay.DecodeEvent(header, msg.Payload)
}

// countAttempt notes in the message that it is tried once more.
func countAttempt(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		msg.Metadata.Set(attemptsKey, strconv.Itoa(attempts(msg)+1))
		return next(msg)
	}
}

func attempts(msg *message.Message) int {
	n, _ := strconv.Atoi(msg.Metadata.Get(attemptsKey)) // not there before the first
	return n
}

// wasParked says that a message that was acknowledged has been parked.
func wasParked(msg *message.Message) bool {
	return msg.Metadata.Get(middleware.ReasonForPoisonedKey) != ""
}

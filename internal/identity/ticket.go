package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// ticketTime is from when a ticket is handed out until it must have been used: a page
	// asks for one when it is about to connect.
	ticketTime = 30 * time.Second
	// ticketPurpose is bound to each ticket, so that nothing else under the key is one.
	ticketPurpose = "hub-backend stream ticket 1"
)

// Tickets stand for an access token where none can be sent, once and for a moment. A
// ticket is the caller, encrypted: whichever process opens it needs only the key, and who
// finds one in the log of a proxy learns nothing from it. That it is used once is for who
// redeems it to see to, by its id. It is hardly longer than the token it stands for.
type Tickets struct{ seal cipher.AEAD }

// NewTickets takes the key of all processes, 32 bytes.
func NewTickets(key []byte) (*Tickets, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Tickets{seal}, nil
}

// ticket is what one holds.
type ticket struct {
	ID      uuid.UUID `json:"id"`
	Expires time.Time `json:"exp"`
	Caller  Caller    `json:"caller"`
}

// Issue makes a ticket for a caller, good for 30 s and not beyond the caller's token. What
// is only for display is not in it.
func (t *Tickets) Issue(caller Caller, now time.Time) (text string, expires time.Time, err error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", time.Time{}, err
	}
	expires = now.Add(ticketTime).UTC().Truncate(time.Millisecond)
	if caller.Expires.Before(expires) {
		expires = caller.Expires.UTC()
	}
	caller.Name, caller.Email = "", ""
	plain, err := json.Marshal(ticket{ID: id, Expires: expires, Caller: caller})
	if err != nil {
		return "", time.Time{}, err
	}
	return base64.RawURLEncoding.EncodeToString(t.seal.Seal(nil, nil, plain, []byte(ticketPurpose))), expires, nil
}

// Open returns the caller that a ticket stands for, the ticket's id, and until when it is
// good. Problem: invalid_ticket.
func (t *Tickets) Open(text string, now time.Time) (Caller, uuid.UUID, time.Time, error) {
	var opened ticket
	// Longer than of the longest token there is none.
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text[:min(len(text), 2*maxTokenBytes)])
	if err == nil {
		sealed, err = t.seal.Open(nil, nil, sealed, []byte(ticketPurpose))
	}
	if err == nil {
		err = json.Unmarshal(sealed, &opened)
	}
	if err != nil {
		return Caller{}, uuid.Nil, time.Time{}, InvalidTicket("The ticket is none of this hub.")
	}
	if !now.Before(opened.Expires) {
		return Caller{}, uuid.Nil, time.Time{}, InvalidTicket("The ticket has expired; it was good for %d seconds.", int(ticketTime.Seconds()))
	}
	return opened.Caller, opened.ID, opened.Expires, nil
}

// InvalidTicket is the answer to a ticket that is not good, or not any more.
func InvalidTicket(detail string, args ...any) error {
	return problem.New(problem.Unauthenticated, "invalid_ticket", detail, args...)
}

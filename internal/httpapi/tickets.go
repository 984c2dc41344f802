package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
)

const ticketsPath = basePath + "/stream-tickets"

// ticketParameter is where a stream takes a ticket in place of an access token.
const ticketParameter = "ticket"

// StreamTicket lets an EventSource connect, which cannot send a header.
type StreamTicket struct {
	Ticket    string    `json:"ticket" doc:"Send it as ticket in the URL of a stream, once." example:"Vf7r0kq…"`
	ExpiresAt time.Time `json:"expires_at" doc:"Until when the stream must have been opened: 30 s from now, and not beyond the access token. The stream may then last as long as that."`
}

type ticketOutput struct {
	Status int
	Body   StreamTicket
}

func (a *API) issueTicket(ctx context.Context, _ *struct{}) (*ticketOutput, error) {
	text, expires, err := a.tickets.Issue(exchangeOf(ctx).caller, time.Now())
	if err != nil {
		return nil, err
	}
	return &ticketOutput{http.StatusCreated, StreamTicket{text, expires}}, nil
}

// ticketOf finds the ticket of a request, and takes it out of the URL, so that nothing
// behind sees it. Problems: two_credentials, invalid_ticket.
func ticketOf(r *http.Request) (ticket string, found bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !query.Has(ticketParameter) {
		return "", false, nil //nolint:nilerr // what is wrong with the query is told to who has a token
	}
	given := query[ticketParameter]
	switch {
	case len(r.Header["Authorization"]) > 0:
		return "", false, problem.New(problem.Malformed, "two_credentials", "Send an access token or a ticket, not both.")
	case len(given) > 1:
		return "", false, identity.InvalidTicket("The URL has more than one ticket.")
	}
	query.Del(ticketParameter)
	r.URL.RawQuery = query.Encode()
	return given[0], true, nil
}

// redeem lets a ticket stand for its caller, once. Problems: invalid_ticket,
// log_unavailable.
func (a *API) redeem(e *exchange, r *http.Request, ticket string) error {
	caller, id, expires, err := a.tickets.Open(ticket, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxQuery)
	defer cancel()
	switch first, err := a.events.UseTicket(ctx, id, expires); {
	case err != nil && r.Context().Err() == nil:
		return errors.Join(logUnavailable(), err)
	case err != nil:
		return err
	case !first:
		return identity.InvalidTicket("The ticket has been used. Ask for another one.")
	}
	e.caller = caller
	return nil
}

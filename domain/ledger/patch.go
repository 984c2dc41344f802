package ledger

import (
	"encoding/json"
	"maps"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Patch is a merge patch (RFC 7396) of a transaction's content.
type Patch struct {
	ID       uuid.UUID
	Document json.RawMessage
	// Move lets the date move out of a closed period.
	Move bool
}

// Draft is the transaction's content with the patch on it. Problem: invalid_transaction.
func (p Patch) Draft(current Content) (Draft, error) {
	draft := Draft{
		Date: current.Date.String(), Description: current.Description, ExternalRef: current.ExternalRef,
		Metadata: current.Metadata, ExpiresAt: current.ExpiresAt,
	}
	for _, line := range current.Lines {
		draft.Lines = append(draft.Lines, DraftLine{line.AccountID.String(), string(line.Side), line.Amount.String(), "", line.Exchange})
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(p.Document, &members); err != nil || members == nil {
		return draft, invalidPatch("body", "must be an object")
	}
	for name, value := range members {
		if message := draft.patch(name, value); message != "" {
			return draft, invalidPatch("body."+name, message)
		}
	}
	return draft, nil
}

func invalidPatch(location, message string) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_transaction", "The transaction cannot be changed like this; errors says why.").
		With(problem.Field{Location: location, Message: message})
}

// patch changes one member of the draft; it says what is wrong with the value, "" when
// nothing is. Null takes away what need not be there.
func (d *Draft) patch(name string, value json.RawMessage) string {
	removed := string(value) == "null"
	into := func(target any, wants string) string {
		if removed || json.Unmarshal(value, target) != nil {
			return wants
		}
		return ""
	}
	switch name {
	case "date":
		return into(&d.Date, wantsDate)
	case "description":
		if removed {
			d.Description = ""
			return ""
		}
		return into(&d.Description, "must be a string")
	case "lines":
		d.Lines = nil
		var lines []lineSent
		wrong := into(&lines, "must be a list of lines: account_id, side and amount, which is a string")
		for _, line := range lines {
			d.Lines = append(d.Lines, DraftLine(line))
		}
		return wrong
	case "expires_at":
		d.ExpiresAt = nil
		if removed {
			return ""
		}
		return into(&d.ExpiresAt, "must be a time of RFC 3339")
	case "metadata":
		return d.patchMetadata(value)
	}
	return "cannot be changed"
}

// lineSent is a line of a patch.
type lineSent struct {
	AccountID string    `json:"account_id"`
	Side      string    `json:"side"`
	Amount    string    `json:"amount"`
	Currency  string    `json:"currency"`
	Exchange  *Exchange `json:"exchange"`
}

func (d *Draft) patchMetadata(value json.RawMessage) string {
	var changes map[string]json.RawMessage
	if json.Unmarshal(value, &changes) != nil {
		return "must be an object"
	}
	merged := map[string]json.RawMessage{}
	if changes != nil {
		maps.Copy(merged, d.Metadata)
	}
	maps.Copy(merged, changes) // a null is taken out when it is read
	d.Metadata = merged
	return ""
}

// Decide changes the content, and ends all approvals of it. Problems, in this order:
// invalid_state, then those of NewTransaction.
func (p Patch) Decide(r domain.Reader, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionPatch, m.Now); err != nil {
		return nil, err
	}
	draft, err := p.Draft(current.Content)
	if err != nil {
		return nil, err
	}
	content, err := draft.read(r, m.Now)
	if err != nil || len(content.differences(current.Content)) == 0 {
		return nil, err
	}
	if err := checkOpen(r, content.Lines); err != nil {
		return nil, err
	}
	held := current.Held()
	if held == nil {
		return fact(r, p.ID, Updated{Content: content, By: byOf(m)}), nil
	}
	if content.Date, err = openDate(r, content.Date, p.Move); err != nil {
		return nil, err
	}
	payload := Updated{Content: content, Released: held, By: byOf(m)}
	return funded(r, p.ID, payload, held, &content.Movement)
}

package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

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
	// Known says of an entity that there is one, and that the caller may see it.
	Known func(uuid.UUID) bool
}

// Draft is the transaction's content with the patch on it; what is sealed is empty before.
// Problem: invalid_transaction.
func (p Patch) Draft(current Content) (Draft, error) {
	draft := Draft{
		Date: current.Date.String(), Description: current.Description.Clear, ExternalRef: current.ExternalRef,
		Metadata: current.Metadata, ExpiresAt: current.ExpiresAt, Subjects: current.Subjects, Private: current.Private.Clear,
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
		return merge(&d.Metadata, value)
	case "private":
		return merge(&d.Private, value)
	case "subjects":
		d.Subjects = nil
		if removed {
			return ""
		}
		return into(&d.Subjects, "must be a list of ids")
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

// merge puts changes into members; null takes away all.
func merge(members *map[string]json.RawMessage, value json.RawMessage) string {
	var changes map[string]json.RawMessage
	if json.Unmarshal(value, &changes) != nil {
		return "must be an object"
	}
	merged := map[string]json.RawMessage{}
	if changes != nil {
		maps.Copy(merged, *members)
	}
	maps.Copy(merged, changes) // a null is taken out when it is read
	*members = merged
	return ""
}

// Decide changes the content, and ends all approvals of it. Problems, in this order:
// invalid_state, subject_erased, then those of NewTransaction.
func (p Patch) Decide(r domain.Reader, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionPatch, m.Now); err != nil {
		return nil, err
	}
	before, err := current.Content.unlocked(r.Open)
	switch {
	case errors.Is(err, domain.ErrErased):
		return nil, erased()
	case err != nil:
		return nil, err
	}
	draft, err := p.Draft(before)
	if err != nil {
		return nil, err
	}
	content, err := draft.read(r, m.Now, func(id uuid.UUID) bool { return slices.Contains(before.Subjects, id.String()) || p.Known(id) })
	if err != nil || len(content.differences(before)) == 0 {
		return nil, err
	}
	if err := p.leavesNothingBehind(before, content); err != nil {
		return nil, err
	}
	content = content.hidden()
	if err := checkOpen(r, content.Lines); err != nil {
		return nil, err
	}
	held := current.Held()
	if held == nil {
		return content.fact(r, p.ID, Updated{Content: content, By: byOf(m)}), nil
	}
	if content.Date, err = openDate(r, content.Date, p.Move); err != nil {
		return nil, err
	}
	payload := Updated{Content: content, Released: held, By: byOf(m)}
	return content.funded(r, p.ID, payload, held, &content.Movement)
}

// leavesNothingBehind checks that what was about a subject goes where the subject goes: it
// would not be lost any more when that is erased. Problem: invalid_transaction.
func (p Patch) leavesNothingBehind(before, after Content) error {
	gone := slices.ContainsFunc(before.Subjects, func(id string) bool { return !slices.Contains(after.Subjects, id) })
	switch {
	case gone && !before.Description.IsZero() && before.Description.Clear == after.Description.Clear:
		return invalidPatch("body.description", "must be sent anew where one is taken out of subjects: it was about that one, too")
	case gone && !before.Private.IsZero() && !after.Private.IsZero():
		return invalidPatch("body.private", "must be null where one is taken out of subjects: it was about that one, too")
	}
	return nil
}

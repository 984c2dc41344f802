package member

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// Seen is what a verified token says of its holder; login and person are as
// internal/identity lets them through.
type Seen struct {
	Sub           string
	Person        string
	Roles, Groups []string
	IssuedAt      time.Time
	// Name and Email are empty where the token does not say.
	Name, Email string
}

// Decide changes the member when the token says something new. Of two tokens the one
// issued later is right, whichever is used later: a login that uses two with different
// roles in turn changes once. Order and repetition in the lists mean nothing, and neither
// does a name or an address that is missing. open opens what is known of these; what was
// erased stays so.
func (s Seen) Decide(current Member, open func(domain.Sealed) (json.RawMessage, error)) ([]domain.Fact, error) {
	if current.Known() && !s.IssuedAt.After(current.IssuedAt) {
		return nil, nil
	}
	secrets, err := s.secrets(current, open)
	if err != nil {
		return nil, err
	}
	roles, groups := distinct(s.Roles), distinct(s.Groups)
	if len(secrets) == 0 && current.Person == s.Person && slices.Equal(current.Roles, roles) && slices.Equal(current.Groups, groups) {
		return nil, nil
	}
	return []domain.Fact{{
		Stream: Stream(s.Sub), Subjects: []string{Subject(s.Sub)},
		Payload: Changed{Person: s.Person, Roles: roles, Groups: groups, IssuedAt: s.IssuedAt.UTC(), Secrets: secrets},
	}}, nil
}

// secrets are what the token says of name and address that is not known yet.
func (s Seen) secrets(current Member, open func(domain.Sealed) (json.RawMessage, error)) (map[string]domain.Secret, error) {
	var secrets map[string]domain.Secret
	for field, text := range map[string]string{nameField: s.Name, emailField: s.Email} {
		if text == "" {
			continue
		}
		if value, known := current.Sealed[field]; known {
			plain, err := open(value)
			var before string
			switch {
			case errors.Is(err, domain.ErrErased):
				continue
			case err != nil:
				return nil, fmt.Errorf("opening what is known of a member: %w", err)
			case json.Unmarshal(plain, &before) == nil && before == text:
				continue
			}
		}
		plain, err := json.Marshal(text)
		if err != nil {
			return nil, fmt.Errorf("encoding what is new of a member: %w", err)
		}
		if secrets == nil {
			secrets = make(map[string]domain.Secret)
		}
		secrets[field] = domain.NewSecret(plain, true, Subject(s.Sub))
	}
	return secrets, nil
}

// distinct is a list in order, without repetition, and never null.
func distinct(names []string) []string {
	sorted := append([]string{}, names...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

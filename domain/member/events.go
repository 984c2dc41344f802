// Package member is the directory of an organisation's members, as their tokens tell:
// who a login is, and which roles and groups it has. Whoever gives out tokens decides
// that; the log only remembers it, for those who need to know while the member is away:
// who may approve, whom to tell, and where.
//
// Each member is a data subject: name and address are sealed under a key of the member.
package member

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Changed says what a member's tokens hold from now on; the first one makes the member
// known. Stream member:<sub>, subject member:<sub>.
type Changed struct {
	// Person is the human behind the login.
	Person string   `json:"person"`
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
	// IssuedAt is when the token that told so was issued.
	IssuedAt time.Time `json:"issued_at"`
	// Name and Email are sealed, and sensitive. One that is absent stays as it was.
	Name  json.RawMessage `json:"name,omitempty"`
	Email json.RawMessage `json:"email,omitempty"`

	// Secrets are what is to be sealed, by the names of the fields.
	Secrets map[string]domain.Secret `json:"-"`
}

// EventType names the event.
func (Changed) EventType() string { return "member.changed" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind { return []domain.EventKind{domain.Kind[Changed]()} }

const memberKind = "member"

// Folds says what the boundaries of this area fold to.
func Folds() domain.Folds { return domain.Folds{memberKind: Member{}} }

// Stream is the stream of a member, by login.
func Stream(sub string) domain.Tag { return domain.NewTag(memberKind, sub) }

// Subject is the member as a data subject. It is named as the stream is, so that no login
// has the key of an entity.
func Subject(sub string) string { return string(Stream(sub)) }

// The fields that are sealed.
const (
	nameField  = "name"
	emailField = "email"
)

// sealed is where an event has one of them.
func (c *Changed) sealed(field string) *json.RawMessage {
	if field == nameField {
		return &c.Name
	}
	return &c.Email
}

// Seal implements domain.Sealable.
func (c Changed) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (domain.Payload, error) {
	for field, secret := range c.Secrets {
		value, err := seal("/"+field, secret)
		if err != nil {
			return c, err
		}
		*c.sealed(field) = value.Data()
	}
	c.Secrets = nil
	return c, nil
}

// SealedValues are the name and the address, by field. Part of domain.Opened.
func (c Changed) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	var found map[string]domain.Sealed
	for _, field := range []string{nameField, emailField} {
		value, ok := domain.ParseSealed(*c.sealed(field), event, "/"+field)
		if !ok {
			continue
		}
		if found == nil {
			found = make(map[string]domain.Sealed)
		}
		found[field] = value
	}
	return found
}

// Shown gives the event with masks in place of what is sealed. Part of domain.Opened.
func (c Changed) Shown(values map[string]json.RawMessage) domain.Payload {
	for field, value := range values {
		*c.sealed(field) = value
	}
	return c
}

package keyring

import (
	"encoding/json"
	"fmt"

	"github.com/reactdjango-hub/backend/domain"
)

// usualSubjects is whom a value is about at most as a rule: so many keys need no memory.
const usualSubjects = 4

// Keys are keys of subjects, by whose they are.
type Keys map[Ref]*Key

// Refs name the subjects of a value of an organisation.
func Refs(org string, subjects []string) []Ref {
	refs := make([]Ref, len(subjects))
	for i, subject := range subjects {
		refs[i] = Ref{Org: org, Subject: subject}
	}
	return refs
}

// Seal seals a secret of an organisation for its place in an event, by the keys of all its
// subjects, which must be among these. Error: domain.ErrErased.
func (k Keys) Seal(org string, at Place, s domain.Secret) (domain.Sealed, error) {
	keys := make([]*Key, 0, usualSubjects)
	for _, subject := range s.Subjects {
		key := k[Ref{org, subject}]
		if key == nil {
			return domain.Sealed{}, fmt.Errorf("a value is to be sealed for a subject whose key is not there")
		}
		keys = append(keys, key)
	}
	text, err := Seal(at, s.Reveal(), keys...)
	if err != nil {
		return domain.Sealed{}, err
	}
	return domain.Sealed{Text: text, Subject: s.Subjects[0], Within: s.Subjects[1:], Sensitive: s.Sensitive, Event: at.Event, Pointer: at.Pointer}, nil
}

// Open gives what a sealed value of an organisation says. A key that is not among these
// counts as erased: it was lost with the end of a log. Errors: domain.ErrErased, ErrMoved.
func (k Keys) Open(org string, s domain.Sealed) (json.RawMessage, error) {
	key := k[Ref{org, s.Subject}]
	if key == nil {
		return nil, domain.ErrErased
	}
	keys := append(make([]*Key, 0, usualSubjects), key)
	for _, subject := range s.Within {
		if key = k[Ref{org, subject}]; key == nil {
			return nil, domain.ErrErased
		}
		keys = append(keys, key)
	}
	return Open(Place{Event: s.Event, Pointer: s.Pointer}, s.Text, keys...)
}

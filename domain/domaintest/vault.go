package domaintest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// What the loop does with keys is done here without any: a sealed value is its text in
// base64 behind the place where it was sealed, so that it opens nowhere else.

// sealed is a payload with its secrets sealed, as an event of this id has it.
func sealed(event uuid.UUID, payload domain.Payload) domain.Payload {
	holder, ok := payload.(domain.Sealable)
	if !ok {
		return payload
	}
	payload, err := holder.Seal(func(pointer string, s domain.Secret) (domain.Sealed, error) {
		text := place(event, pointer, s.Subjects) + base64.StdEncoding.EncodeToString(s.Reveal())
		return domain.Sealed{Text: text, Subject: s.Subjects[0], Within: s.Subjects[1:], Sensitive: s.Sensitive, Event: event, Pointer: pointer}, nil
	})
	if err != nil {
		panic(fmt.Sprintf("domaintest: a payload cannot be sealed: %v", err))
	}
	return payload
}

func place(event uuid.UUID, pointer string, subjects []string) string {
	return fmt.Sprintf("%d %s %s ", event[15], pointer, subjects)
}

// Erase makes what is sealed for a subject unreadable from now on.
func (s *Scenario) Erase(subject string) *Scenario {
	s.erased[subject] = true
	return s
}

// Open implements domain.Reader.
func (r *reader) Open(s domain.Sealed) (json.RawMessage, error) {
	for _, subject := range s.Subjects() {
		if !r.named[domain.SubjectTag(subject)] {
			panic(fmt.Sprintf("the decider opened a value of %q without having named the subject", subject))
		}
		if r.scenario.erased[subject] {
			return nil, domain.ErrErased
		}
	}
	at := place(s.Event, s.Pointer, s.Subjects())
	if len(s.Text) < len(at) || s.Text[:len(at)] != at {
		return nil, errors.New("the value does not belong where it is")
	}
	return base64.StdEncoding.DecodeString(s.Text[len(at):])
}

// Token implements domain.Reader.
func (r *reader) Token(kind, name string) string {
	token, known := r.scenario.tokens[kind+":"+name]
	if !known {
		r.scenario.tokens[kind+":"+name] = fmt.Sprintf("token-%d", len(r.scenario.tokens)+1)
		if r.asked = true; r.deciding {
			panic("the decider asks for a token that it did not ask for in Boundaries")
		}
	}
	return token
}

// shown is a payload with its secrets in it, for comparing and reading.
func shown(payload domain.Payload) domain.Payload { return sealed(uuid.Nil, payload) }

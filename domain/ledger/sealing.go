package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// What is sealed. A transaction can be about persons, its subjects. Then its description is
// sealed for all of them, and so is what it has in private, which stays sealed in read
// tables, too. Without subjects the description is in clear, and there is nothing private:
// there would be nobody's key for it.

// Personal is a part of a transaction that may tell of persons.
type Personal[T any] struct {
	// Clear is the value, zero while it is sealed.
	Clear T
	// Sealed is its ciphertext, nil while it is in clear.
	Sealed *domain.Sealed
	secret *domain.Secret
}

// IsZero reports whether there is nothing.
func (p Personal[T]) IsZero() bool {
	return p.Sealed == nil && p.secret == nil && reflect.ValueOf(&p.Clear).Elem().IsZero()
}

var errNotSealed = errors.New("a secret is to be recorded that was not sealed")

// MarshalJSON writes the value, or its ciphertext.
func (p Personal[T]) MarshalJSON() ([]byte, error) {
	switch {
	case p.secret != nil:
		return nil, errNotSealed
	case p.Sealed != nil:
		return p.Sealed.Data(), nil
	}
	return canonical(p.Clear), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. Values in clear are no objects: what is
// private is never recorded in clear.
func (p *Personal[T]) UnmarshalJSON(data []byte) error {
	*p = Personal[T]{}
	if bytes.HasPrefix(data, []byte("{")) {
		p.Sealed = new(domain.Sealed)
		return json.Unmarshal(data, p.Sealed)
	}
	return json.Unmarshal(data, &p.Clear)
}

// hidden is the value as a secret of subjects, if there are any.
func (p Personal[T]) hidden(sensitive bool, subjects []string) Personal[T] {
	if len(subjects) == 0 || p.IsZero() {
		return p
	}
	secret := domain.NewSecret(canonical(p.Clear), sensitive, subjects...)
	return Personal[T]{secret: &secret}
}

func (p Personal[T]) seal(pointer string, seal func(string, domain.Secret) (domain.Sealed, error)) (Personal[T], error) {
	if p.secret == nil {
		return p, nil
	}
	value, err := seal(pointer, *p.secret)
	return Personal[T]{Sealed: &value}, err
}

// placed is the value as it is in an event.
func (p Personal[T]) placed(event uuid.UUID, pointer string) Personal[T] {
	if p.Sealed != nil {
		value := *p.Sealed
		value.Event, value.Pointer = event, pointer
		p.Sealed = &value
	}
	return p
}

// unlocked is the value in clear. Error: domain.ErrErased.
func (p Personal[T]) unlocked(open func(domain.Sealed) (json.RawMessage, error)) (Personal[T], error) {
	var plain json.RawMessage
	switch {
	case p.secret != nil: // of a transaction that is decided together with this one
		plain = p.secret.Reveal()
	case p.Sealed == nil:
		return p, nil
	default:
		var err error
		if plain, err = open(*p.Sealed); err != nil {
			return Personal[T]{}, err
		}
	}
	var opened Personal[T]
	err := json.Unmarshal(plain, &opened.Clear)
	return opened, err
}

func (p Personal[T]) size() int {
	if p.Sealed == nil {
		return 0
	}
	return len(p.Sealed.Text) + nameBytes*len(p.Sealed.Subjects())
}

// What views call the sealed values of an event, and where it has them.
const (
	PrivateName     = "private"
	descriptionName = "description"

	descriptionPointer = "/content/description"
	privatePointer     = "/content/private"
)

// hidden is the content with what is to be sealed.
func (c Content) hidden() Content {
	c.Description, c.Private = c.Description.hidden(false, c.Subjects), c.Private.hidden(true, c.Subjects)
	return c
}

func (c Content) seal(seal func(string, domain.Secret) (domain.Sealed, error)) (Content, error) {
	var wrong, err error
	c.Description, wrong = c.Description.seal(descriptionPointer, seal)
	c.Private, err = c.Private.seal(privatePointer, seal)
	return c, errors.Join(wrong, err)
}

// placed is the content as a fact has it.
func (c Content) placed(f domain.Fact) Content {
	c.Subjects = f.Subjects
	c.Description, c.Private = c.Description.placed(f.ID, descriptionPointer), c.Private.placed(f.ID, privatePointer)
	return c
}

// unlocked is the content in clear, for the time of a decision. Error: domain.ErrErased,
// with the rest of it.
func (c Content) unlocked(open func(domain.Sealed) (json.RawMessage, error)) (Content, error) {
	var wrong, err error
	c.Description, wrong = c.Description.unlocked(open)
	c.Private, err = c.Private.unlocked(open)
	return c, errors.Join(wrong, err)
}

func erased() *problem.Problem {
	return problem.New(problem.Conflict, "subject_erased",
		"A person whom this transaction is about was erased: what it said is gone, and nothing can be added. It can still be posted, voided and reversed.")
}

func (c Content) sealedValues(event uuid.UUID) map[string]domain.Sealed {
	if c.Description.Sealed == nil && c.Private.Sealed == nil {
		return nil
	}
	c, found := c.placed(domain.Fact{ID: event}), map[string]domain.Sealed{}
	if c.Description.Sealed != nil {
		found[descriptionName] = *c.Description.Sealed
	}
	if c.Private.Sealed != nil {
		found[PrivateName] = *c.Private.Sealed
	}
	return found
}

// shown is the content as views show it: what is private is beside it.
func (c Content) shown(values map[string]json.RawMessage) Content {
	if c.Description.Sealed != nil {
		c.Description = Personal[string]{}
		_ = json.Unmarshal(values[descriptionName], &c.Description.Clear) // it was written from a text; nothing when it was erased
	}
	c.Private = Personal[map[string]json.RawMessage]{}
	return c
}

// Seal implements domain.Sealable.
func (p Drafted) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (_ domain.Payload, err error) {
	p.Content, err = p.Content.seal(seal)
	return p, err
}

// Seal implements domain.Sealable.
func (p Updated) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (_ domain.Payload, err error) {
	p.Content, err = p.Content.seal(seal)
	return p, err
}

// Seal implements domain.Sealable.
func (p Submitted) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (_ domain.Payload, err error) {
	p.Content, err = p.Content.sealOptional(seal)
	return p, err
}

// Seal implements domain.Sealable.
func (p Posted) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (_ domain.Payload, err error) {
	p.Content, err = p.Content.sealOptional(seal)
	return p, err
}

// sealOptional is seal of a content that need not be there.
func (c *Content) sealOptional(seal func(string, domain.Secret) (domain.Sealed, error)) (*Content, error) {
	if c == nil {
		return nil, nil
	}
	sealed, err := c.seal(seal)
	return &sealed, err
}

// SealedValues are part of domain.Opened.
func (p Drafted) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	return p.Content.sealedValues(event)
}

// SealedValues are part of domain.Opened.
func (p Updated) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	return p.Content.sealedValues(event)
}

// SealedValues are part of domain.Opened.
func (p Submitted) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	if p.Content == nil {
		return nil
	}
	return p.Content.sealedValues(event)
}

// SealedValues are part of domain.Opened.
func (p Posted) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	if p.Content == nil {
		return nil
	}
	return p.Content.sealedValues(event)
}

// Shown is part of domain.Opened.
func (p Drafted) Shown(values map[string]json.RawMessage) domain.Payload {
	p.Content = p.Content.shown(values)
	return p
}

// Shown is part of domain.Opened.
func (p Updated) Shown(values map[string]json.RawMessage) domain.Payload {
	p.Content = p.Content.shown(values)
	return p
}

// Shown is part of domain.Opened; only what has a content has sealed values.
func (p Submitted) Shown(values map[string]json.RawMessage) domain.Payload {
	content := p.Content.shown(values)
	p.Content = &content
	return p
}

// Shown is part of domain.Opened; only what has a content has sealed values.
func (p Posted) Shown(values map[string]json.RawMessage) domain.Payload {
	content := p.Content.shown(values)
	p.Content = &content
	return p
}

// Subjects implements domain.Veiled.
func (t Transaction) Subjects() []string {
	if t.Content.Description.Sealed == nil {
		return nil
	}
	return t.Content.Description.Sealed.Subjects()
}

// Unveil implements domain.Veiled: the description in clear, nothing where it was erased.
// What is private stays as it is.
func (t Transaction) Unveil(open func(domain.Sealed) (json.RawMessage, error)) (domain.State, error) {
	description, err := t.Content.Description.unlocked(open)
	if err != nil && !errors.Is(err, domain.ErrErased) {
		return t, err
	}
	t.Content.Description = description
	return t, nil
}

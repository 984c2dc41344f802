package entity

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// What is sealed. A type of data subjects has all its attributes and keys sealed in the
// log, each entity being a subject; of any other type those attributes are that it names
// as sensitive, and the subject is the entity, too. Sensitive ones stay sealed in read
// tables.

const (
	sensitiveLocation = "body.sensitive"
	// auditAll asks that every read of an entity is recorded, and not only that of
	// sensitive values.
	auditAll = "all"
	// auditSensitive is the other choice, and what is meant by none.
	auditSensitive = "sensitive"
	// keyPointer is where an event of a creation has its sealed key.
	keyPointer = "/sealed_key"
)

// AttributePointer is where the events of an entity have an attribute.
func AttributePointer(name string) string { return "/attributes/" + escapePointer(name) }

// Seals reports whether anything of the type's entities is sealed.
func (t Type) Seals() bool { return t.DataSubject || len(t.Sensitive) > 0 }

// AuditsAll reports whether every read of the type's entities is recorded.
func (t Type) AuditsAll() bool { return t.AuditReads == auditAll }

// KeyName is what stands for a key in the tag of an entity of this type: the key, or a
// token where the key is personal. It is "" while the token is looked up.
func (t Type) KeyName(r domain.Reader, key string) string {
	if t.DataSubject {
		return r.Token(keyKind, t.Name+"/"+key)
	}
	return key
}

// Sealing reports whether deciding on an entity opens or seals values.
func Sealing(e Entity, t Type) bool { return len(e.Sealed) > 0 || t.Seals() }

// Unlocked is the entity with its sealed attributes in clear among the others, for the
// time of a decision. Problem: subject_erased.
func Unlocked(r domain.Reader, e Entity) (Entity, error) {
	if len(e.Sealed) == 0 {
		return e, nil
	}
	attributes := maps.Clone(e.Attributes)
	for name, value := range e.Sealed {
		plain, err := r.Open(value)
		switch {
		case errors.Is(err, domain.ErrErased):
			return e, problem.New(problem.Conflict, "subject_erased",
				"The person whom this is about was erased: what was known is gone, and nothing can be added.")
		case err != nil:
			return e, fmt.Errorf("opening an attribute: %w", err)
		}
		attributes[name] = plain
	}
	e.Attributes = attributes
	return e, nil
}

// Sealed makes secrets of what of the facts about an entity the type keeps sealed.
func (t Type) Sealed(id uuid.UUID, facts []domain.Fact) []domain.Fact {
	if !t.Seals() {
		return facts
	}
	sealed := slices.Clone(facts)
	for i := range sealed {
		fact := &sealed[i]
		switch p := fact.Payload.(type) {
		case Created:
			p.Attributes, p.Secrets = t.split(id, p.Attributes)
			if t.DataSubject && p.Key != "" {
				key, _ := json.Marshal(p.Key) // a text always can be
				secret := domain.NewSecret(key, false, id.String())
				p.Key, p.SecretKey = "", &secret
			}
			fact.Payload = p
		case Updated:
			p.Attributes, p.Secrets = t.split(id, p.Attributes)
			fact.Payload = p
		}
	}
	return sealed
}

// About says of facts about entities which persons each is about: the entity itself, and
// for a relationship what it leads to. person reports whether an entity is one.
func About(facts []domain.Fact, person func(uuid.UUID) bool) []domain.Fact {
	about := slices.Clone(facts)
	for i := range about {
		fact := &about[i]
		concerned := []string{fact.Stream.Name()}
		switch p := fact.Payload.(type) {
		case RelationshipAdded:
			concerned = append(concerned, p.TargetID.String())
		case RelationshipRemoved:
			concerned = append(concerned, p.TargetID.String())
		}
		for _, name := range slices.Compact(concerned) {
			if id, err := uuid.Parse(name); err == nil && person(id) {
				fact.Subjects = append(fact.Subjects, name)
			}
		}
	}
	return about
}

// split takes the values to seal out of attributes. A removal stays: it says no value.
func (t Type) split(id uuid.UUID, attributes map[string]json.RawMessage) (open map[string]json.RawMessage, secrets map[string]domain.Secret) {
	open = make(map[string]json.RawMessage, len(attributes))
	var subjects []string
	for name, value := range attributes {
		sensitive := slices.Contains(t.Sensitive, name)
		if isNull(value) || !t.DataSubject && !sensitive {
			open[name] = value
			continue
		}
		if secrets == nil {
			secrets, subjects = make(map[string]domain.Secret), []string{id.String()}
		}
		secrets[name] = domain.NewSecret(value, sensitive, subjects...)
	}
	return open, secrets
}

// sealAll puts sealed values into a copy of attributes.
func sealAll(attributes map[string]json.RawMessage, secrets map[string]domain.Secret, seal func(string, domain.Secret) (domain.Sealed, error)) (map[string]json.RawMessage, error) {
	if len(secrets) == 0 {
		return attributes, nil
	}
	sealed := make(map[string]json.RawMessage, len(attributes)+len(secrets))
	maps.Copy(sealed, attributes)
	for name, secret := range secrets {
		value, err := seal(AttributePointer(name), secret)
		if err != nil {
			return nil, err
		}
		sealed[name] = value.Data()
	}
	return sealed, nil
}

// Seal implements domain.Sealable.
func (c Created) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (domain.Payload, error) {
	var err error
	if c.SecretKey != nil {
		value, err := seal(keyPointer, *c.SecretKey)
		if err != nil {
			return c, err
		}
		c.SealedKey, c.SecretKey = value.Data(), nil
	}
	c.Attributes, err = sealAll(c.Attributes, c.Secrets, seal)
	c.Secrets = nil
	return c, err
}

// Seal implements domain.Sealable.
func (u Updated) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (domain.Payload, error) {
	var err error
	u.Attributes, err = sealAll(u.Attributes, u.Secrets, seal)
	u.Secrets = nil
	return u, err
}

// sealedAmong are the sealed values of an event's attributes, nil when there are none.
func sealedAmong(attributes map[string]json.RawMessage, event uuid.UUID) map[string]domain.Sealed {
	var found map[string]domain.Sealed
	for name, raw := range attributes {
		value, ok := domain.ParseSealed(raw, event, "")
		if !ok {
			continue
		}
		if value.Pointer = AttributePointer(name); found == nil {
			found = make(map[string]domain.Sealed)
		}
		found[name] = value
	}
	return found
}

// SealedValues are the sealed values of an event, by attribute; that of the key is by "".
// Part of domain.Opened.
func (c Created) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	found := sealedAmong(c.Attributes, event)
	if key, ok := domain.ParseSealed(c.SealedKey, event, keyPointer); ok {
		if found == nil {
			found = make(map[string]domain.Sealed)
		}
		found[""] = key
	}
	return found
}

// SealedValues are those of the attributes that it changes. Part of domain.Opened.
func (u Updated) SealedValues(event uuid.UUID) map[string]domain.Sealed {
	return sealedAmong(u.Attributes, event)
}

// Shown gives the event as views show it: values in clear, masks for those that stay
// sealed, and nothing for those that were erased. Part of domain.Opened.
func (c Created) Shown(values map[string]json.RawMessage) domain.Payload {
	c.Attributes = maps.Clone(c.Attributes)
	for name, value := range values {
		switch {
		case name != "" && value == nil:
			delete(c.Attributes, name)
		case name != "":
			c.Attributes[name] = value
		case value != nil:
			_ = json.Unmarshal(value, &c.Key) // it was written from a text
		}
	}
	c.SealedKey = nil
	return c
}

// Shown gives the event as views show it. What was erased is removed. Part of domain.Opened.
func (u Updated) Shown(values map[string]json.RawMessage) domain.Payload {
	u.Attributes = maps.Clone(u.Attributes)
	for name, value := range values {
		if u.Attributes[name] = value; value == nil {
			u.Attributes[name] = json.RawMessage("null")
		}
	}
	return u
}

// Subjects implements domain.Veiled.
func (e Entity) Subjects() []string {
	var subjects []string
	for _, value := range e.Sealed {
		if !value.Sensitive {
			subjects = append(subjects, value.Subjects()...)
		}
	}
	if e.SealedKey != nil {
		subjects = append(subjects, e.SealedKey.Subjects()...)
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// Unveil implements domain.Veiled: sensitive attributes are masked, and what was erased is
// absent.
func (e Entity) Unveil(open func(domain.Sealed) (json.RawMessage, error)) (domain.State, error) {
	if len(e.Sealed) == 0 && e.SealedKey == nil {
		return e, nil
	}
	attributes := make(map[string]json.RawMessage, len(e.Attributes)+len(e.Sealed))
	maps.Copy(attributes, e.Attributes)
	for name, value := range e.Sealed {
		if value.Sensitive {
			attributes[name] = json.RawMessage(`"` + domain.Mask + `"`)
			continue
		}
		plain, err := open(value)
		switch {
		case err == nil:
			attributes[name] = plain
		case !errors.Is(err, domain.ErrErased):
			return e, err
		}
	}
	e.Attributes = attributes
	if e.SealedKey == nil {
		return e, nil
	}
	switch plain, err := open(*e.SealedKey); {
	case errors.Is(err, domain.ErrErased):
	case err != nil:
		return e, err
	default:
		if err := json.Unmarshal(plain, &e.Key); err != nil {
			return e, err
		}
	}
	return e, nil
}

// checkMasks refuses the mask as the value of a sensitive attribute, also of one that the
// type does not name any more and the entity has sealed still: it is what who may not see the
// value was shown, and has no business in its place.
func (t Type) checkMasks(current Entity, attributes map[string]any) error {
	masked := slices.Clone(t.Sensitive)
	for name, value := range current.Sealed {
		if value.Sensitive {
			masked = append(masked, name)
		}
	}
	var fields []problem.Field
	for _, name := range masked {
		if attributes[name] == domain.Mask {
			fields = append(fields, problem.Field{Location: location(attributesLocation, name), Message: "must not be " + domain.Mask + ", which stands for a value that is not shown; leave it out to keep the value"})
		}
	}
	if len(fields) > 0 {
		return problem.New(problem.Invalid, "masked_value", "A mask cannot be stored in place of what it hides.").With(ordered(fields)...)
	}
	return nil
}

// checkSealing holds what a definition seals against the type as it is. Once there are
// entities nothing more can be sealed, for the log has it in clear. Problems:
// invalid_sensitive, invalid_audit_reads, conflict.
func (d Definition) checkSealing(current Type) error {
	switch {
	case !slices.Contains([]string{"", auditSensitive, auditAll}, d.AuditReads):
		return problem.New(problem.Invalid, "invalid_audit_reads", "The reads to record cannot be these.").
			With(problem.Field{Location: "body.audit_reads", Message: "must be sensitive or all"})
	case current.Used && d.DataSubject != current.DataSubject:
		return problem.New(problem.Conflict, "conflict", "The type has entities, so whether they are data subjects cannot change any more: what is in the log stays as it is. Define another type.").
			With(problem.Field{Location: "body.data_subject", Message: "cannot change once the type has entities"})
	}
	var invalid, grown []problem.Field
	for i, name := range d.Sensitive {
		at := fmt.Sprintf("%s/%d", sensitiveLocation, i)
		fault := attributeNameFault(name)
		switch {
		case fault != "":
		case i >= maxAttributes:
			fault = fmt.Sprintf("is one of more than %d", maxAttributes)
		case slices.Contains(d.Sensitive[:i], name):
			fault = "is named twice"
		case slices.Contains(d.Search, name):
			fault = "is searched, which what is sensitive cannot be"
		}
		if fault != "" {
			invalid = append(invalid, problem.Field{Location: at, Message: fault})
		}
		if current.Used && !slices.Contains(current.Sensitive, name) {
			grown = append(grown, problem.Field{Location: at, Message: "cannot become sensitive once the type has entities"})
		}
	}
	switch {
	case len(invalid) > 0:
		return problem.New(problem.Invalid, "invalid_sensitive", "The sensitive attributes cannot be these; errors says which.").With(ordered(invalid)...)
	case len(grown) > 0:
		return problem.New(problem.Conflict, "conflict", "The type has entities, so no further attribute can become sensitive: the log may have it in clear.").With(ordered(grown)...)
	}
	return nil
}

// checkUnsealing refuses a definition that leaves out what it seals or records of entities
// that are there: that is done on purpose, and not by a line that is missing. Problem:
// unsealing_change.
func (d Definition) checkUnsealing(current Type) error {
	if !current.Used {
		return nil
	}
	var fields []problem.Field
	for _, name := range current.Sensitive {
		if !slices.Contains(d.Sensitive, name) {
			fields = append(fields, problem.Field{Location: sensitiveLocation, Message: "does not name " + name + " any more: new values of it would be stored and shown in clear"})
		}
	}
	if current.AuditsAll() && d.audits() != auditAll {
		fields = append(fields, problem.Field{Location: "body.audit_reads", Message: "is not all any more: most reads would not be recorded"})
	}
	if len(fields) == 0 {
		return nil
	}
	return problem.New(problem.Conflict, "unsealing_change",
		"What is secret or recorded now would not be so any more. Repeat what errors names, or send \"force\": true.").With(ordered(fields)...)
}

// audits is AuditReads as it is recorded.
func (d Definition) audits() string {
	if d.AuditReads == auditSensitive {
		return ""
	}
	return d.AuditReads
}

// sealsAs reports whether the definition changes nothing about what is sealed and recorded.
func (d Definition) sealsAs(t Type) bool {
	return slices.Equal(d.Sensitive, t.Sensitive) && d.DataSubject == t.DataSubject && d.audits() == t.AuditReads
}

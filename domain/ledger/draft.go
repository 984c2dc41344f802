package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Limits on a transaction. Its lines stand in an event up to three times, which must stay
// under the limit on events.
const (
	maxLines         = 500
	maxSubjects      = domain.MaxSealingSubjects
	maxMetadata      = 50
	maxMetadataName  = 100
	maxMetadataBytes = 16 << 10
	maxShare         = 1_000_000_000
)

// Draft is what a caller wants a transaction to say. Texts are as they were sent.
type Draft struct {
	Date        string
	Description string
	Lines       []DraftLine
	Splits      []Split
	// ExternalRef is the caller's own id of it, "" for none.
	ExternalRef string
	Metadata    map[string]json.RawMessage
	ExpiresAt   *time.Time
	// Subjects are the ids of the entities that it is about; Private is sealed for them.
	Subjects []string
	Private  map[string]json.RawMessage
}

// DraftLine is a line as it was sent.
type DraftLine struct {
	AccountID string
	Side      string
	Amount    string
	// Currency is the one that the caller believes the account to be in, "" for any.
	Currency string
	Exchange *Exchange
}

// Split is an amount that is shared out over accounts: a line for each.
type Split struct {
	Side   string
	Amount string
	Shares []Share
}

// Share is an account's part of a split, in relation to the others.
type Share struct {
	AccountID string
	Share     int64
}

// Entities are the entities that it shall be about; what is no id is left out.
func (d Draft) Entities() []uuid.UUID {
	var ids []uuid.UUID
	for _, text := range d.Subjects[:min(len(d.Subjects), maxSubjects)] {
		if id, ok := accountID(text); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Accounts are the accounts that the draft names; what is no id is left out.
func (d Draft) Accounts() []uuid.UUID {
	var ids []uuid.UUID
	add := func(text string) {
		if id, ok := accountID(text); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, line := range d.Lines[:min(len(d.Lines), maxLines)] {
		add(line.AccountID)
	}
	for _, split := range d.Splits[:min(len(d.Splits), maxLines)] {
		for _, share := range split.Shares[:min(len(split.Shares), maxLines)] {
			if len(ids) < maxLines {
				add(share.AccountID)
			}
		}
	}
	return ids
}

func accountID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(uuid.Nil.String())
}

// ValidRef reports whether a transaction can have this external_ref.
func ValidRef(ref string) bool { return nameFault(ref, maxRef) == "" }

// read checks the draft; known says of an entity that the caller may name it. Problems, in
// this order: invalid_transaction, unknown_entity, unknown_account, invalid_amount,
// currency_mismatch, unbalanced.
func (d Draft) read(r domain.Reader, now time.Time, known func(uuid.UUID) bool) (Content, error) {
	var faults []problem.Field
	check := func(field, message string) {
		if message != "" {
			faults = append(faults, problem.Field{Location: "body." + field, Message: message})
		}
	}
	content := Content{Description: Personal[string]{Clear: d.Description}, ExternalRef: d.ExternalRef}
	var ok bool
	if content.Date, ok = ParseDate(d.Date); !ok {
		check("date", wantsDate)
	}
	check("description", textFault(d.Description, maxDescription))
	if d.ExternalRef != "" {
		check("external_ref", nameFault(d.ExternalRef, maxRef))
	}
	var fault string
	content.Metadata, fault = readMetadata(d.Metadata)
	check("metadata", fault)
	content.Subjects, fault = readSubjects(d.Subjects)
	check("subjects", fault)
	content.Private.Clear, fault = readMetadata(d.Private)
	if fault == "" && content.Private.Clear != nil && len(d.Subjects) == 0 {
		fault = "must come with subjects, whose keys it is sealed by"
	}
	check("private", fault)
	if d.ExpiresAt != nil {
		until := d.ExpiresAt.UTC().Truncate(time.Microsecond)
		if content.ExpiresAt = &until; !until.After(now) {
			check("expires_at", "must be in the future")
		}
	}
	check("lines", d.countFault())
	for i, line := range d.Lines[:min(len(d.Lines), maxLines)] {
		check(at("lines", i, "side"), sideFault(line.Side))
	}
	for i, split := range d.Splits[:min(len(d.Splits), maxLines)] {
		check(at("splits", i, "side"), sideFault(split.Side))
		check(at("splits", i, "shares"), sharesFault(split.Shares))
	}
	if len(faults) > 0 {
		return content, problem.New(problem.Invalid, "invalid_transaction", "The transaction cannot be read; errors says why.").With(faults...)
	}
	if err := knownSubjects(content.Subjects, known); err != nil {
		return content, err
	}
	var err error
	content.Lines, err = d.lines(r)
	return content, err
}

func knownSubjects(subjects []string, known func(uuid.UUID) bool) error {
	for i, text := range subjects {
		if id, _ := accountID(text); !known(id) { // it is one: it was read
			return problem.New(problem.Invalid, "unknown_entity", "There is no entity with this id that you may see.").
				With(problem.Field{Location: "body." + item("subjects", i), Message: "is not the id of an entity"})
		}
	}
	return nil
}

func at(list string, i int, member string) string { return item(list, i) + "/" + member }

func item(list string, i int) string { return list + "/" + strconv.Itoa(i) }

func (d Draft) countFault() string {
	count := len(d.Lines)
	for _, split := range d.Splits {
		count += len(split.Shares)
	}
	switch {
	case count < 2:
		return "must be at least two: what one account gives, another gets"
	case count > maxLines:
		return fmt.Sprintf("must be at most %d, with those of splits", maxLines)
	}
	return ""
}

func sideFault(side string) string {
	if side != string(Debit) && side != string(Credit) {
		return "must be debit or credit"
	}
	return ""
}

func sharesFault(shares []Share) string {
	if len(shares) == 0 {
		return "must be at least one"
	}
	for _, share := range shares {
		if share.Share < 1 || share.Share > maxShare {
			return fmt.Sprintf("must be whole numbers from 1 to %d", maxShare)
		}
	}
	return ""
}

// textFault says what is wrong with a text of several lines, "" when nothing is.
func textFault(text string, most int) string {
	switch {
	case !utf8.ValidString(text):
		return "must be UTF-8"
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("must have at most %d characters", most)
	case strings.ContainsFunc(text, domain.UnsafeRune):
		return "must not hold control characters or bidirectional overrides"
	}
	return ""
}

// readSubjects gives the ids of those whom a transaction is about, each once. It says what
// is wrong with them, "" when nothing is.
func readSubjects(sent []string) (subjects []string, fault string) {
	if len(sent) > maxSubjects {
		return nil, fmt.Sprintf("must be at most %d", maxSubjects)
	}
	for _, text := range sent {
		id, ok := accountID(text)
		if !ok {
			return nil, "must be ids of entities"
		}
		if !slices.Contains(subjects, id.String()) {
			subjects = append(subjects, id.String())
		}
	}
	return subjects, ""
}

// readMetadata writes values in one way, so that the same ones compare equal; nulls are
// absent.
func readMetadata(raw map[string]json.RawMessage) (map[string]json.RawMessage, string) {
	var metadata map[string]json.RawMessage
	size := 0
	for name, text := range raw {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			return nil, "must be JSON"
		}
		if value == nil {
			continue
		}
		if nameFault(name, maxMetadataName) != "" {
			return nil, fmt.Sprintf("must have names of 1 to %d characters", maxMetadataName)
		}
		written := canonical(value)
		if metadata == nil {
			metadata = map[string]json.RawMessage{}
		}
		metadata[name] = written
		size += len(name) + len(written)
	}
	if len(metadata) > maxMetadata || size > maxMetadataBytes {
		return nil, fmt.Sprintf("must have at most %d members and %d bytes", maxMetadata, maxMetadataBytes)
	}
	return metadata, ""
}

// canonical writes what was decoded from JSON, and so can be written.
func canonical(value any) json.RawMessage {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return bytes.TrimSpace(text.Bytes())
}

// differences names the fields in which two contents, both in clear, differ.
func (c Content) differences(other Content) []string {
	var names []string
	for _, field := range []struct {
		name string
		same bool
	}{
		{"date", c.Date == other.Date},
		{"description", c.Description.Clear == other.Description.Clear},
		{"lines", reflect.DeepEqual(c.Lines, other.Lines)},
		{"metadata", reflect.DeepEqual(c.Metadata, other.Metadata)},
		{"subjects", slices.Equal(c.Subjects, other.Subjects)},
		{"private", reflect.DeepEqual(c.Private.Clear, other.Private.Clear)},
		{"external_ref", c.ExternalRef == other.ExternalRef},
		{"expires_at", sameTime(c.ExpiresAt, other.ExpiresAt)},
	} {
		if !field.same {
			names = append(names, field.name)
		}
	}
	return names
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

package readmodels

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// DefaultLimit and MaxLimit are the contract's numbers of items on a page.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// MaxPageBytes bounds what the items of a page have together, as they come from the
// database: several times 500 of a usual size, and still little for whoever holds many pages
// at once. The first item is on the page however large it is, so that a list goes on.
const MaxPageBytes = 4 << 20

// room is how much of that a page has used.
type room struct{ used, items int }

// fits takes one more item and reports whether it may be on the page.
func (r *room) fits(bytes int) bool {
	r.used, r.items = r.used+bytes, r.items+1
	return r.items == 1 || r.used <= MaxPageBytes
}

// paged is a page's items as they were read: up to one more than the limit, or fewer.
// cut says that there were more, for which there was no room.
func paged[T any](items []T, limit int, cut bool) (page []T, more bool) {
	if len(items) > limit {
		return items[:limit], true
	}
	return items, cut
}

const (
	// maxCursorBytes is above any cursor of ours: a key of 200 four-byte characters,
	// escaped as JSON, twice over.
	maxCursorBytes = 4096
	// macBytes is enough against guessing; a cursor gives no rights anyway.
	macBytes = 16
)

// Page asks for one page of a list.
type Page struct {
	// Limit is the most items wanted, 1 to MaxLimit; 0 means DefaultLimit.
	Limit int
	// Cursor is NextCursor of the page before, "" for the first.
	Cursor string
	// Count asks for the number of all matches too, which takes longer the more there are.
	Count bool
}

// counted is the number of all rows, where it is asked for; rows are what comes after FROM.
func (p Page) counted(rows string) string {
	if !p.Count {
		return "NULL::bigint"
	}
	return "(SELECT count(*) FROM " + rows + ")"
}

// limit checks and completes Limit. Problem: invalid_limit.
func (p Page) limit() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultLimit, nil
	case p.Limit < 1 || p.Limit > MaxLimit:
		return 0, problem.New(problem.Invalid, "invalid_limit", "A page has 1 to %d items.", MaxLimit).
			With(problem.Field{Location: "query.limit", Message: "must be from 1 to " + strconv.Itoa(MaxLimit)})
	}
	return p.Limit, nil
}

// cursor is the last item of a page: the next page begins after it, whatever was
// written in between. It has no position, so that a list which does not change keeps
// its cursor too.
type cursor struct {
	Epoch uuid.UUID `json:"e"`
	// Value is what the list is sorted by, null where the item has none; ID decides
	// among equals.
	Value *string   `json:"v"`
	ID    uuid.UUID `json:"i,omitzero"`
}

// cursorScope is the list that a cursor belongs to: in another it would mean
// something else.
type cursorScope struct {
	org, route, sort string
	// filters are names and values in a fixed order.
	filters []string
}

// seal writes a cursor as base64url(MAC ‖ JSON).
func (s *Store) seal(c cursor, scope cursorScope) (string, error) {
	content, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(s.mac(content, scope), content...)), nil
}

// open reads a cursor that seal wrote for the same scope. Problem: invalid_cursor.
func (s *Store) open(text string, scope cursorScope) (cursor, error) {
	var c cursor
	if len(text) > maxCursorBytes {
		return c, invalidCursor()
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < macBytes || !hmac.Equal(sealed[:macBytes], s.mac(sealed[macBytes:], scope)) {
		return c, invalidCursor()
	}
	if err := json.Unmarshal(sealed[macBytes:], &c); err != nil {
		return c, invalidCursor()
	}
	return c, nil
}

// mac covers the scope and the content, each part with its length before it.
func (s *Store) mac(content []byte, scope cursorScope) []byte {
	hash := hmac.New(sha256.New, s.cursorKey)
	part := func(text string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		hash.Write(length[:])
		hash.Write([]byte(text))
	}
	part("hub.cursor.1")
	part(scope.org)
	part(scope.route)
	part(scope.sort)
	part(strconv.Itoa(len(scope.filters)))
	for _, filter := range scope.filters {
		part(filter)
	}
	hash.Write(content)
	return hash.Sum(nil)[:macBytes]
}

func invalidCursor() error {
	return problem.New(problem.Malformed, "invalid_cursor",
		"The cursor is not one of this list: send the next_cursor of an answer with the same filters and sort, or none.").
		With(problem.Field{Location: "query.cursor", Message: "must be a next_cursor of this list"})
}

// sameLog refuses a cursor from before the log was restored to an earlier state: the
// items up to it may not be the same ones. Problem: epoch_changed.
func (c cursor) sameLog(at Snapshot) error {
	if c.Epoch == at.Epoch {
		return nil
	}
	return problem.New(problem.Conflict, "epoch_changed",
		"The log was restored to an earlier state since this list was begun. Begin it again without a cursor.")
}

// LogCursors are the cursors of a list that is read from the log itself, in the order of its
// positions, the latest first. They are signed as all are.
type LogCursors struct {
	store *Store
	scope cursorScope
}

// LogCursors are those of one list: of an organisation, by a name, with these filters.
func (s *Store) LogCursors(org, list string, filters ...string) LogCursors {
	return LogCursors{s, cursorScope{org: org, route: list, filters: filters}}
}

// Seal writes the position that the next page comes before.
func (l LogCursors) Seal(at Snapshot) (string, error) {
	position := strconv.FormatInt(at.Position, 10)
	return l.store.seal(cursor{Epoch: at.Epoch, Value: &position}, l.scope)
}

// Open reads what Seal wrote, nothing as the zero snapshot. Problem: invalid_cursor.
func (l LogCursors) Open(text string) (Snapshot, error) {
	if text == "" {
		return Snapshot{}, nil
	}
	c, err := l.store.open(text, l.scope)
	if err != nil || c.Value == nil {
		return Snapshot{}, invalidCursor()
	}
	position, err := strconv.ParseInt(*c.Value, 10, 64)
	if err != nil {
		return Snapshot{}, invalidCursor()
	}
	return Snapshot{Position: position, Epoch: c.Epoch}, nil
}

// SameLog refuses a place in a list of before the log was restored to an earlier state.
// Problem: epoch_changed.
func (s Snapshot) SameLog(at Snapshot) error { return cursor{Epoch: s.Epoch}.sameLog(at) }

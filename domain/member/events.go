// Package member is the directory of an organisation's members, as their tokens tell:
// who a login is, and which roles and groups it has. Whoever gives out tokens decides
// that; the log only remembers it, for those who need to know while the member is away:
// who may approve, whom to tell.
//
// It holds no name and no address: those are personal, and come when events can be sealed.
package member

import (
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// Changed says what a member's tokens hold from now on; the first one makes the member
// known. Stream member:<sub>.
type Changed struct {
	// Person is the human behind the login.
	Person string   `json:"person"`
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
	// IssuedAt is when the token that told so was issued.
	IssuedAt time.Time `json:"issued_at"`
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

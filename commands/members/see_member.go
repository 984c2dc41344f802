// Package members holds the commands on the directory of members. The rules are in
// domain/member.
package members

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/member"
)

// SeeMember takes into the directory what a verified token says of its holder.
//
// Permission: none; no caller gives it, the reactor does. Reads: the member, with the name and
// the address that are known.
type SeeMember struct{ member.Seen }

// Boundaries names what the decision depends on, and the member's key.
func (c SeeMember) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{member.Stream(c.Sub), domain.SubjectTag(member.Subject(c.Sub))}
}

// Decide changes the member when there is something new.
func (c SeeMember) Decide(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
	stream := member.Stream(c.Sub)
	current := domain.Read[member.Member](r, stream)
	facts, err := c.Seen.Decide(current, r.Open)
	return domain.Decision{ResourceID: c.Sub, Stream: stream, Created: !current.Known(), Facts: facts}, err
}

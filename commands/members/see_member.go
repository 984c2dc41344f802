// Package members holds the commands on the directory of members. The rules are in
// domain/member.
package members

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/member"
)

// SeeMember takes into the directory what a verified token says of its holder.
//
// Permission: none; no caller gives it, the reactor does. Reads: the member.
type SeeMember struct{ member.Seen }

// Boundaries names what the decision depends on.
func (c SeeMember) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{member.Stream(c.Sub)}
}

// Decide changes the member when there is something new.
func (c SeeMember) Decide(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
	stream := member.Stream(c.Sub)
	current := domain.Read[member.Member](r, stream)
	return domain.Decision{ResourceID: c.Sub, Stream: stream, Created: !current.Known(), Facts: c.Seen.Decide(current)}, nil
}

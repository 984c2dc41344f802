package member

import (
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// Seen is what a verified token says of its holder; login and person are as
// internal/identity lets them through.
type Seen struct {
	Sub           string
	Person        string
	Roles, Groups []string
	IssuedAt      time.Time
}

// Decide changes the member when the token says something new. Of two tokens the one
// issued later is right, whichever is used later: a login that uses two with different
// roles in turn changes once. Order and repetition in the lists mean nothing.
func (s Seen) Decide(current Member) []domain.Fact {
	if current.Known() && !s.IssuedAt.After(current.IssuedAt) {
		return nil
	}
	roles, groups := distinct(s.Roles), distinct(s.Groups)
	if current.Person == s.Person && slices.Equal(current.Roles, roles) && slices.Equal(current.Groups, groups) {
		return nil
	}
	return []domain.Fact{{
		Stream:  Stream(s.Sub),
		Payload: Changed{Person: s.Person, Roles: roles, Groups: groups, IssuedAt: s.IssuedAt.UTC()},
	}}
}

// distinct is a list in order, without repetition, and never null.
func distinct(names []string) []string {
	sorted := append([]string{}, names...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

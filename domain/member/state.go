package member

import (
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// Member is the state of one member.
type Member struct {
	Person        string
	Roles, Groups []string
	IssuedAt      time.Time
}

// Known reports whether the member has been seen.
func (m Member) Known() bool { return m.Person != "" }

// Evolve folds one fact.
func (m Member) Evolve(f domain.Fact) domain.State {
	if p, ok := f.Payload.(Changed); ok {
		return Member(p)
	}
	return m
}

// Memory of Go values beside their bytes, roughly.
const (
	stateBytes = 160
	entryBytes = 16
)

// Size is the approximate memory held, in bytes.
func (m Member) Size() int {
	size := stateBytes + len(m.Person)
	for _, name := range slices.Concat(m.Roles, m.Groups) {
		size += entryBytes + len(name)
	}
	return size
}

package member

import (
	"maps"
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// Member is the state of one member.
type Member struct {
	Person        string
	Roles, Groups []string
	IssuedAt      time.Time
	// Sealed are the name and the address, as far as they are known.
	Sealed map[string]domain.Sealed
}

// Known reports whether the member has been seen.
func (m Member) Known() bool { return m.Person != "" }

// Evolve folds one fact.
func (m Member) Evolve(f domain.Fact) domain.State {
	p, ok := f.Payload.(Changed)
	if !ok {
		return m
	}
	next := Member{Person: p.Person, Roles: p.Roles, Groups: p.Groups, IssuedAt: p.IssuedAt, Sealed: m.Sealed}
	if fresh := p.SealedValues(f.ID); len(fresh) > 0 {
		next.Sealed = make(map[string]domain.Sealed)
		maps.Copy(next.Sealed, m.Sealed)
		maps.Copy(next.Sealed, fresh)
	}
	return next
}

// Memory of Go values beside their bytes, roughly; a sealed value with its subject and
// pointer.
const (
	stateBytes  = 160
	entryBytes  = 16
	sealedBytes = 256
)

// Size is the approximate memory held, in bytes.
func (m Member) Size() int {
	size := stateBytes + len(m.Person)
	for _, name := range slices.Concat(m.Roles, m.Groups) {
		size += entryBytes + len(name)
	}
	for _, value := range m.Sealed {
		size += sealedBytes + len(value.Text)
	}
	return size
}

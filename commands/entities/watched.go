package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// Watched is a command on an entity that learns on the way whether every read of the entity
// is recorded: whoever is answered with it, reads it. Use it once.
//
// Permission and reads: the command's; the type of the entity, too.
type Watched struct {
	domain.Decider
	ID uuid.UUID

	typ     entity.Type
	decided bool
}

// Boundaries names what the command does, and the type once the entity is loaded.
func (w *Watched) Boundaries(r domain.Reader) []domain.Tag {
	return distinct(append(w.Decider.Boundaries(r), entityAndType(r, w.ID)...))
}

// Decide decides the command.
func (w *Watched) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if current := domain.Read[entity.Entity](r, entity.Stream(w.ID)); current.Exists() {
		w.typ, w.decided = domain.Read[entity.Type](r, entity.TypeStream(current.Type)), true
	}
	return w.Decider.Decide(r, m)
}

// Rounds is how far the command goes.
func (w *Watched) Rounds() int {
	if walker, ok := w.Decider.(domain.Walker); ok {
		return walker.Rounds()
	}
	return 0
}

// Audited reports whether every read of the entity is recorded. It is not known of a command
// that was answered as before, without being decided.
func (w *Watched) Audited() (audited, known bool) { return w.typ.AuditsAll(), w.decided }

var _ domain.Walker = (*Watched)(nil)

package entity

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Open reads the entity that a command is about, and that its caller needs a right on.
// open is what the caller's roles allow with an entity without ACL entries. Problems:
// not_found, also for what the caller may not see; forbidden; and version_conflict when
// If-Match names another version.
func Open(r domain.Reader, id uuid.UUID, m domain.Meta, right Right, open Access) (Entity, error) {
	e := domain.Read[Entity](r, Stream(id))
	if !e.Exists() {
		return e, noEntity()
	}
	if err := AllowedTo(CallerOf(m), e.ACL, open).Expect(right); err != nil {
		return e, err
	}
	return e, expectVersion(m, r.Version(Stream(id)))
}

// Seen reads another entity than the one that a command is about: empty for one that the
// caller may not see, as for one that is not there.
func Seen(r domain.Reader, id uuid.UUID, m domain.Meta, open Access) Entity {
	e := domain.Read[Entity](r, Stream(id))
	if !AllowedTo(CallerOf(m), e.ACL, open).Read {
		return Entity{}
	}
	return e
}

// CallerOf are the names that the caller of a command goes by in ACL entries.
func CallerOf(m domain.Meta) []string { return Principals(m.Actor.Sub, m.Roles, m.Groups) }

func noEntity() error {
	return problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
}

// OpenType reads the type that a command defines, which need not exist yet.
// Problem: version_conflict. The name must be one that ValidTypeName accepts.
func OpenType(r domain.Reader, name string, m domain.Meta) (Type, error) {
	return domain.Read[Type](r, TypeStream(name)), expectVersion(m, r.Version(TypeStream(name)))
}

// ExpectNew checks that an entity can be created under this id. Problems: conflict
// when the id is in use, and version_conflict when If-Match names a version.
func ExpectNew(r domain.Reader, id uuid.UUID, m domain.Meta) error {
	if domain.Read[Entity](r, Stream(id)).Exists() {
		return problem.New(problem.Conflict, "conflict", "An entity with this id exists already.")
	}
	return expectVersion(m, r.Version(Stream(id)))
}

func expectVersion(m domain.Meta, current int64) error {
	if m.IfMatch != nil && *m.IfMatch != current {
		return problem.StaleVersion(current)
	}
	return nil
}

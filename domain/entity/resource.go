package entity

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Open reads the entity that a command is about. Problems: not_found, and
// version_conflict when If-Match names another version.
func Open(r domain.Reader, id uuid.UUID, m domain.Meta) (Entity, error) {
	e := domain.Read[Entity](r, Stream(id))
	if !e.Exists() {
		return e, problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
	}
	return e, expectVersion(m, r.Version(Stream(id)))
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

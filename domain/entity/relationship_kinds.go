package entity

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// The policies of a kind for when a target is archived.
const (
	// OnArchiveRestrict refuses that while an entity in use refers to it.
	OnArchiveRestrict = "restrict"
	// OnArchiveDetach removes the relationships.
	OnArchiveDetach = "detach"
)

// MaxKinds of a type are far more than a person can tell apart.
const MaxKinds = 50

const relationshipsLocation = "body.relationships"

// RelationshipKind declares one kind of relationship that entities of a type can have.
type RelationshipKind struct {
	Kind string `json:"kind"`
	// Target is the type that targets are of.
	Target    string `json:"target"`
	OnArchive string `json:"on_archive"`
	// Acyclic says that following the kind never leads back to where it began.
	Acyclic bool `json:"acyclic,omitempty"`
}

// Relationship finds a declared kind.
func (t Type) Relationship(kind string) (RelationshipKind, bool) {
	i := slices.IndexFunc(t.Relationships, func(k RelationshipKind) bool { return k.Kind == kind })
	if i < 0 {
		return RelationshipKind{}, false
	}
	return t.Relationships[i], true
}

// restricts reports whether relationships of a kind keep their targets from being
// archived. One that is not declared any more does not.
func (t Type) restricts(kind string) bool {
	declared, _ := t.Relationship(kind)
	return declared.OnArchive == OnArchiveRestrict
}

// checkKinds completes declared kinds and refuses what cannot be one, as
// invalid_relationships, and a target that is no type, as unknown_type.
func checkKinds(kinds []RelationshipKind, known func(typeName string) bool) ([]RelationshipKind, error) {
	if len(kinds) > MaxKinds {
		return nil, invalidKinds(problem.Field{Location: relationshipsLocation, Message: fmt.Sprintf("must have at most %d items", MaxKinds)})
	}
	var fields []problem.Field
	checked := slices.Clone(kinds)
	for i := range checked {
		k, at := &checked[i], relationshipsLocation+"/"+strconv.Itoa(i)
		if k.OnArchive == "" {
			k.OnArchive = OnArchiveRestrict
		}
		switch {
		case !ValidTypeName(k.Kind):
			fields = append(fields, problem.Field{Location: at + "/kind", Message: "must match ^[a-z][a-z0-9_]{0,62}$"})
		case slices.ContainsFunc(checked[:i], func(other RelationshipKind) bool { return other.Kind == k.Kind }):
			fields = append(fields, problem.Field{Location: at + "/kind", Message: "is declared twice"})
		case k.OnArchive != OnArchiveRestrict && k.OnArchive != OnArchiveDetach:
			fields = append(fields, problem.Field{Location: at + "/on_archive", Message: "must be restrict or detach"})
		}
	}
	if len(fields) > 0 {
		return nil, invalidKinds(fields...)
	}
	for i, k := range checked {
		if !ValidTypeName(k.Target) || !known(k.Target) {
			fields = append(fields, problem.Field{Location: relationshipsLocation + "/" + strconv.Itoa(i) + "/target", Message: "is not the name of an entity type"})
		}
	}
	if len(fields) > 0 {
		return nil, problem.New(problem.Invalid, "unknown_type", "A relationship leads to a type that does not exist. Define that one first; types that refer to each other take two steps.").With(fields...)
	}
	return checked, nil
}

func invalidKinds(fields ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_relationships", "The relationships cannot be declared like this. Correct what errors names.").With(fields...)
}

// narrowedKinds lists the kinds under which a relationship could be invalid that is not.
func narrowedKinds(old, next []RelationshipKind) (fields []problem.Field) {
	for _, before := range old {
		i := slices.IndexFunc(next, func(k RelationshipKind) bool { return k.Kind == before.Kind })
		at := relationshipsLocation + "/" + strconv.Itoa(i)
		switch {
		case i < 0:
			fields = append(fields, problem.Field{Location: relationshipsLocation, Message: "does not declare " + before.Kind + " any more"})
		case next[i].Target != before.Target:
			fields = append(fields, problem.Field{Location: at + "/target", Message: mayRefuse})
		case next[i].Acyclic && !before.Acyclic:
			fields = append(fields, problem.Field{Location: at + "/acyclic", Message: mayRefuse})
		}
	}
	return fields
}

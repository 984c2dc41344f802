package entity_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// opening is a decider that only opens a resource.
type opening struct {
	tag  domain.Tag
	open func(domain.Reader, domain.Meta) error
}

func (o opening) Boundaries(domain.Reader) []domain.Tag { return []domain.Tag{o.tag} }

func (o opening) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	return domain.Decision{}, o.open(r, m)
}

var (
	openEntity = opening{entity.Stream(id), func(r domain.Reader, m domain.Meta) error {
		_, err := entity.Open(r, id, m, entity.MayWrite, entity.Access{Read: true, Write: true})
		return err
	}}
	openType = opening{entity.TypeStream("thing"), func(r domain.Reader, m domain.Meta) error {
		_, err := entity.OpenType(r, "thing", m)
		return err
	}}
	expectNew = opening{entity.Stream(id), func(r domain.Reader, m domain.Meta) error {
		return entity.ExpectNew(r, id, m)
	}}
)

func TestOpen(t *testing.T) {
	created := domain.Fact{Stream: entity.Stream(id), Payload: entity.Created{Type: "thing"}}
	archived := domain.Fact{Stream: entity.Stream(id), Payload: entity.Archived{}}
	defined := domain.Fact{Stream: entity.TypeStream("thing"), Payload: entity.TypeDefined{Name: "thing"}}
	given := func(facts ...domain.Fact) *domaintest.Scenario {
		return domaintest.Given(t, entity.Folds(), facts...)
	}

	given().IfMatch(7).When(openEntity).ThenProblem("not_found")
	given(created, archived).When(openEntity).ThenNothing()
	given(created, archived).IfMatch(2).When(openEntity).ThenNothing()
	p := given(created, archived).IfMatch(1).When(openEntity).ThenProblem("version_conflict")
	if p.Kind != problem.Stale || p.Extra["version"] != int64(2) {
		t.Errorf("got %+v, want the current version", p)
	}

	shared := domain.Fact{Stream: entity.Stream(id), Payload: entity.AccessChanged{Entries: []entity.ACLEntry{
		{Principal: "group:sales", Rights: []entity.Right{entity.MayWrite}}, {Principal: "user:bob", Rights: []entity.Right{entity.MayRead}},
	}}}
	// What the caller may not see is not there, whatever If-Match says of it.
	given(created, shared).IfMatch(1).When(openEntity).ThenProblem("not_found")
	as := func(sub string, groups ...string) *domaintest.Scenario {
		return given(created, shared).With(func(m *domain.Meta) { m.Actor.Sub, m.Groups = sub, groups })
	}
	as("bob").IfMatch(1).When(openEntity).ThenProblem("forbidden")
	as("bob", "sales").IfMatch(1).When(openEntity).ThenProblem("version_conflict")
	as("eve", "sales").When(openEntity).ThenNothing()

	given().When(openType).ThenNothing()
	given().IfMatch(0).When(openType).ThenNothing()
	given().IfMatch(1).When(openType).ThenProblem("version_conflict")
	// The first entity of a type moves its boundary, not its version.
	created.Tags = []domain.Tag{entity.TypeStream("thing")}
	given(defined, created).IfMatch(1).When(openType).ThenNothing()

	given().When(expectNew).ThenNothing()
	given().IfMatch(1).When(expectNew).ThenProblem("version_conflict")
	given(created).When(expectNew).ThenProblem("conflict")
}

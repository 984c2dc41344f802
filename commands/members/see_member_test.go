package members_test

import (
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/commands/members"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/member"
)

func TestSeeMember(t *testing.T) {
	t.Parallel()
	seen := member.Seen{Sub: "ana", Person: "p-1", Roles: []string{"editor"}, IssuedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	changed := domain.Fact{Stream: "member:ana", Subjects: []string{"member:ana"}, Payload: member.Changed{
		Person: "p-1", Roles: []string{"editor"}, Groups: []string{}, IssuedAt: seen.IssuedAt,
	}}
	domaintest.Given(t, member.Folds()).
		When(members.SeeMember{Seen: seen}).Named("member:ana", "subject:member:ana").Resource("ana", "member:ana", true).Then(changed)
	domaintest.Given(t, member.Folds(), changed).
		When(members.SeeMember{Seen: seen}).Resource("ana", "member:ana", false).ThenNothing()
}

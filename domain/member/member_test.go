package member_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/member"
)

func at(minute int) time.Time { return time.Date(2026, time.March, 1, 9, minute, 0, 0, time.UTC) }

func TestGoldenEvents(t *testing.T) {
	domaintest.Events{
		Kinds: member.Kinds(), Folds: member.Folds(), Stream: "member:x",
		Samples: map[string][]domain.Payload{"member.changed": {
			member.Changed{Person: "p-17", Roles: []string{"approver", "editor"}, Groups: []string{"Einkauf/ü"}, IssuedAt: at(5)},
			member.Changed{Person: "ana", Roles: []string{}, Groups: []string{}, IssuedAt: at(0)},
		}},
	}.Golden(t)
}

// see decides and folds.
func see(t *testing.T, current member.Member, s member.Seen) (member.Member, []domain.Fact) {
	t.Helper()
	facts := s.Decide(current)
	var state domain.State = current
	for _, fact := range facts {
		state = state.Evolve(fact)
	}
	return state.(member.Member), facts
}

func TestMemberIsWhatTheLatestTokenSays(t *testing.T) {
	ana := member.Seen{Sub: "ana", Person: "p-1", Roles: []string{"viewer", "editor", "viewer"}, Groups: []string{"b", "a"}, IssuedAt: at(1)}
	state, facts := see(t, member.Member{}, ana)
	require.Equal(t, []domain.Fact{{Stream: "member:ana", Payload: member.Changed{
		Person: "p-1", Roles: []string{"editor", "viewer"}, Groups: []string{"a", "b"}, IssuedAt: at(1),
	}}}, facts)
	require.True(t, state.Known())
	require.False(t, member.Member{}.Known())

	same := ana
	same.Roles, same.IssuedAt = []string{"editor", "viewer"}, at(2)
	_, facts = see(t, state, same)
	require.Empty(t, facts, "nothing new")

	for _, change := range []func(*member.Seen){
		func(s *member.Seen) { s.Roles = nil },
		func(s *member.Seen) { s.Groups = []string{"a"} },
		func(s *member.Seen) { s.Person = "p-2" },
	} {
		other := ana
		other.IssuedAt = at(3)
		change(&other)
		changed, facts := see(t, state, other)
		require.Len(t, facts, 1)
		require.NotEqual(t, state, changed)
		other.IssuedAt = at(4)
		_, facts = see(t, changed, other)
		require.Empty(t, facts)
	}
}

// Two tokens in turn, as of two windows of one login: the later one counts.
func TestTwoTokensInTurnChangeOnce(t *testing.T) {
	first := member.Seen{Sub: "ana", Person: "ana", Roles: []string{"admin"}, IssuedAt: at(1)}
	second := member.Seen{Sub: "ana", Person: "ana", Roles: []string{"viewer"}, IssuedAt: at(2)}
	third := member.Seen{Sub: "ana", Person: "ana", Roles: []string{"editor"}, IssuedAt: at(2)} // of the same second
	var state member.Member
	changes := 0
	for range 5 {
		for _, seen := range []member.Seen{first, second, third} {
			var facts []domain.Fact
			state, facts = see(t, state, seen)
			changes += len(facts)
		}
	}
	require.Equal(t, 2, changes)
	require.Equal(t, []string{"viewer"}, state.Roles)
}

type otherPayload struct{}

func (otherPayload) EventType() string { return "other.happened" }

func TestStateHasASizeAndIgnoresOtherFacts(t *testing.T) {
	small := member.Folds()["member"]
	require.Equal(t, small, small.Evolve(domain.Fact{Payload: otherPayload{}}))
	large := small.Evolve(domain.Fact{Payload: member.Changed{Person: "p", Roles: []string{strings.Repeat("r", 1000)}}})
	require.Greater(t, large.Size(), small.Size()+1000)
}

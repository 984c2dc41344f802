package member_test

import (
	"encoding/json"
	"errors"
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
			member.Changed{
				Person: "p-17", Roles: []string{}, Groups: []string{}, IssuedAt: at(7),
				Name:  json.RawMessage(`{"$sealed":"AQ4","subject":"member:ana","sensitive":true}`),
				Email: json.RawMessage(`{"$sealed":"AQ8","subject":"member:ana","sensitive":true}`),
			},
		}},
	}.Golden(t)
}

// see decides and folds.
func see(t *testing.T, current member.Member, s member.Seen) (member.Member, []domain.Fact) {
	t.Helper()
	facts, err := s.Decide(current, opened)
	require.NoError(t, err)
	var state domain.State = current
	for _, fact := range facts {
		fact.Payload, err = fact.Payload.(domain.Sealable).Seal(sealed)
		require.NoError(t, err)
		state = state.Evolve(fact)
	}
	return state.(member.Member), facts
}

// sealed and opened leave values as they are, but for the one that was erased.
func sealed(pointer string, s domain.Secret) (domain.Sealed, error) {
	return domain.Sealed{Text: string(s.Reveal()), Subject: s.Subjects[0], Sensitive: s.Sensitive, Pointer: pointer}, nil
}

var errAway = errors.New("the keys are away")

func opened(s domain.Sealed) (json.RawMessage, error) {
	switch s.Text {
	case `"erased"`:
		return nil, domain.ErrErased
	case `"away"`:
		return nil, errAway
	}
	return json.RawMessage(s.Text), nil
}

// Name and address are sealed and recorded when they are new; a token without them says
// nothing, and what was erased stays so.
func TestNameAndAddressAreSealed(t *testing.T) {
	ana := member.Seen{Sub: "ana", Person: "p-1", Name: "Ana", IssuedAt: at(1)}
	state, facts := see(t, member.Member{}, ana)
	require.Equal(t, []string{"member:ana"}, facts[0].Subjects)
	secret := facts[0].Payload.(member.Changed).Secrets["name"]
	require.Equal(t, []any{`"Ana"`, []string{"member:ana"}, true}, []any{string(secret.Reveal()), secret.Subjects, secret.Sensitive})
	require.Equal(t, `"Ana"`, state.Sealed["name"].Text)

	again := ana
	again.IssuedAt = at(2)
	_, facts = see(t, state, again)
	require.Empty(t, facts)
	more := again
	more.Name, more.Email = "", "ana@example.com"
	state, facts = see(t, state, more)
	require.Len(t, facts[0].Payload.(member.Changed).Secrets, 1)
	require.Equal(t, []string{`"Ana"`, `"ana@example.com"`}, []string{state.Sealed["name"].Text, state.Sealed["email"].Text})
	moved := more
	moved.Email, moved.IssuedAt = "erased", at(3)
	state, _ = see(t, state, moved)
	require.Equal(t, `"erased"`, state.Sealed["email"].Text)

	moved.Email, moved.Roles, moved.IssuedAt = "new@example.com", []string{"editor"}, at(4)
	state, facts = see(t, state, moved)
	require.Empty(t, facts[0].Payload.(member.Changed).Secrets, "roles change, and what was erased does not come back")
	require.Greater(t, state.Size(), member.Member{}.Size()+len("editor"))
	moved.Name, moved.IssuedAt = "away", at(5)
	state, _ = see(t, state, moved)
	moved.IssuedAt = at(6)
	_, err := moved.Decide(state, opened)
	require.ErrorIs(t, err, errAway)

	payload := member.Changed{Secrets: map[string]domain.Secret{"name": domain.NewSecret(json.RawMessage(`"x"`), true, "s")}}
	_, err = payload.Seal(func(string, domain.Secret) (domain.Sealed, error) { return domain.Sealed{}, errAway })
	require.ErrorIs(t, err, errAway)
	shown := payload.Shown(map[string]json.RawMessage{"name": json.RawMessage(`"***"`), "email": nil}).(member.Changed)
	require.Equal(t, `"***"`, string(shown.Name))
}

func TestMemberIsWhatTheLatestTokenSays(t *testing.T) {
	ana := member.Seen{Sub: "ana", Person: "p-1", Roles: []string{"viewer", "editor", "viewer"}, Groups: []string{"b", "a"}, IssuedAt: at(1)}
	state, facts := see(t, member.Member{}, ana)
	require.Equal(t, []domain.Fact{{Stream: "member:ana", Subjects: []string{"member:ana"}, Payload: member.Changed{
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

package entity

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var (
	errAway  = errors.New("no key can be had")
	somebody = uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")
	someFact = uuid.MustParse("0190aaaa-0000-7000-8000-0000000000ff")
)

// opener reads sealed values as their own text in quotes.
type opener struct{ domain.Reader }

func (opener) Open(s domain.Sealed) (json.RawMessage, error) { return opened(s) }

func opened(s domain.Sealed) (json.RawMessage, error) {
	switch s.Text {
	case "away":
		return nil, errAway
	case "erased":
		return nil, domain.ErrErased
	}
	return json.RawMessage(s.Text), nil
}

func TestUnlocked(t *testing.T) {
	t.Parallel()
	open := Entity{Type: "patient", Attributes: map[string]json.RawMessage{"a": json.RawMessage(`1`)}}
	found, err := Unlocked(opener{}, open)
	require.NoError(t, err)
	require.Equal(t, open, found)
	open.Sealed = map[string]domain.Sealed{"b": {Text: `"B"`}}
	found, err = Unlocked(opener{}, open)
	require.NoError(t, err)
	require.JSONEq(t, `"B"`, string(found.Attributes["b"]))
	require.NotContains(t, open.Attributes, "b", "the state itself stays closed")
	open.Sealed["b"] = domain.Sealed{Text: "erased"}
	_, err = Unlocked(opener{}, open)
	require.Equal(t, "subject_erased", problem.Of(err).Code)
	open.Sealed["b"] = domain.Sealed{Text: "away"}
	_, err = Unlocked(opener{}, open)
	require.ErrorIs(t, err, errAway)
}

func TestWhatSaysNothingOfASubjectIsNotSealed(t *testing.T) {
	t.Parallel()
	facts := []domain.Fact{{Payload: Archived{}}, {Payload: RelationshipRemoved{Kind: "owner"}}}
	require.Equal(t, facts, Type{DataSubject: true}.Sealed(somebody, facts))
	require.Equal(t, facts, Type{}.Sealed(somebody, facts))
}

func TestSealing(t *testing.T) {
	t.Parallel()
	sealed := func(pointer string, s domain.Secret) (domain.Sealed, error) {
		if string(s.Reveal()) == `"away"` {
			return domain.Sealed{}, errAway
		}
		return domain.Sealed{Text: string(s.Reveal()), Subject: s.Subjects[0], Sensitive: s.Sensitive, Event: someFact, Pointer: pointer}, nil
	}
	secret := func(value string) domain.Secret {
		return domain.NewSecret(json.RawMessage(value), false, somebody.String())
	}
	key, away := secret(`"K"`), secret(`"away"`)

	payload, err := Created{Type: "patient", SecretKey: &key, Secrets: map[string]domain.Secret{"name": secret(`"Ana"`)}}.Seal(sealed)
	require.NoError(t, err)
	created := payload.(Created)
	require.Nil(t, created.SecretKey)
	require.Nil(t, created.Secrets)
	values := created.SealedValues(someFact)
	require.Equal(t, keyPointer, values[""].Pointer)
	require.Equal(t, AttributePointer("name"), values["name"].Pointer)
	require.Len(t, values, 2)
	require.Len(t, Created{SealedKey: created.SealedKey}.SealedValues(someFact), 1)
	require.Empty(t, Created{Attributes: map[string]json.RawMessage{"a": json.RawMessage(`{"b":1}`)}}.SealedValues(someFact))

	payload, err = Updated{Secrets: map[string]domain.Secret{"name": secret(`"Eva"`)}}.Seal(sealed)
	require.NoError(t, err)
	require.Equal(t, `"Eva"`, payload.(Updated).SealedValues(someFact)["name"].Text)

	for _, payload := range []domain.Sealable{
		Created{SecretKey: &away}, Created{Secrets: map[string]domain.Secret{"a": away}}, Updated{Secrets: map[string]domain.Secret{"a": away}},
	} {
		_, err := payload.Seal(sealed)
		require.ErrorIs(t, err, errAway)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`1`)
	values := map[string]json.RawMessage{"": json.RawMessage(`"K"`), "a": raw, "gone": nil}
	created := Created{Attributes: map[string]json.RawMessage{"gone": raw}, SealedKey: raw}.Shown(values).(Created)
	require.Equal(t, Created{Key: "K", Attributes: map[string]json.RawMessage{"a": raw}}, created)
	require.Empty(t, Created{Attributes: map[string]json.RawMessage{}}.Shown(map[string]json.RawMessage{"": nil}).(Created).Key)
	updated := Updated{Attributes: map[string]json.RawMessage{"gone": raw}}.Shown(map[string]json.RawMessage{"a": raw, "gone": nil}).(Updated)
	require.Equal(t, map[string]json.RawMessage{"a": raw, "gone": json.RawMessage("null")}, updated.Attributes)
}

func TestUnveiled(t *testing.T) {
	t.Parallel()
	plain := Entity{Type: "patient"}
	found, err := plain.Unveil(opened)
	require.NoError(t, err)
	require.Equal(t, plain, found)
	e := Entity{
		Type: "patient", Attributes: map[string]json.RawMessage{"open": json.RawMessage(`1`)}, SealedKey: &domain.Sealed{Text: `"K"`, Subject: "other"},
		Sealed: map[string]domain.Sealed{"name": {Text: `"Ana"`, Subject: "ana"}, "iban": {Text: "away", Subject: "ana", Sensitive: true}, "gone": {Text: "erased", Subject: "ana"}},
	}
	require.ElementsMatch(t, []string{"ana", "other"}, e.Subjects())
	found, err = e.Unveil(opened)
	require.NoError(t, err)
	require.Equal(t, "K", found.(Entity).Key)
	require.Equal(t, map[string]json.RawMessage{"open": json.RawMessage(`1`), "name": json.RawMessage(`"Ana"`), "iban": json.RawMessage(`"***"`)}, found.(Entity).Attributes)
	for text, want := range map[string]bool{"erased": true, "away": false, "{": false} {
		e.SealedKey = &domain.Sealed{Text: text}
		found, err := e.Unveil(opened)
		require.Equal(t, want, err == nil, text)
		require.Empty(t, found.(Entity).Key)
	}
	e.SealedKey = nil
	found, err = e.Unveil(opened)
	require.NoError(t, err)
	require.Contains(t, found.(Entity).Attributes, "name")
	e.Sealed["name"] = domain.Sealed{Text: "away"}
	_, err = e.Unveil(opened)
	require.ErrorIs(t, err, errAway)
}

func TestSealingOfADefinition(t *testing.T) {
	t.Parallel()
	many := make([]string, maxAttributes+1)
	for i := range many {
		many[i] = fmt.Sprint("a", i)
	}
	require.Equal(t, "invalid_sensitive", problem.Of(Definition{Sensitive: many}.checkSealing(Type{})).Code)
	require.Equal(t, "invalid_audit_reads", problem.Of(Definition{AuditReads: "some"}.checkSealing(Type{})).Code)
	require.Empty(t, Definition{AuditReads: auditSensitive}.audits(), "what holds anyway is not recorded")
	require.Equal(t, auditAll, Definition{AuditReads: auditAll}.audits())
	require.Error(t, checkSearched([]string{"a"}, json.RawMessage(`{`)))
}

// A job whose key cannot be had, or is gone, says so; one that says nothing of why needs none.
func TestABulkUpdateWithoutItsKey(t *testing.T) {
	t.Parallel()
	away := domain.NewSecret(json.RawMessage(`"away"`), true, somebody.String())
	for _, started := range []BulkUpdateStarted{{Patch: &away}, {Because: &away}} {
		_, err := started.Seal(func(string, domain.Secret) (domain.Sealed, error) { return domain.Sealed{}, errAway })
		require.ErrorIs(t, err, errAway)
	}
	_, err := BulkUpdate{Because: &domain.Sealed{Text: "erased"}}.Reason(opener{})
	require.ErrorIs(t, err, domain.ErrErased)
	reason, err := BulkUpdate{}.Reason(opener{})
	require.NoError(t, err)
	require.Empty(t, reason)
	_, err = NewBulkUpdate{ID: somebody, Document: json.RawMessage(`{}`)}.Preview()
	require.Equal(t, "invalid_patch", problem.Of(err).Code)
}

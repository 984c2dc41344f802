package ledger

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
)

var (
	errAway  = errors.New("no key can be had")
	someFact = uuid.MustParse("0190aaaa-0000-7000-8000-0000000000ff")
	somebody = uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")
)

// opener is a reader of boundaries where nothing has happened but states. It opens a sealed
// value as its own text.
type opener struct {
	domain.Reader
	states map[domain.Tag]domain.State
}

func (o opener) State(tag domain.Tag) domain.State {
	if state, found := o.states[tag]; found {
		return state
	}
	return Folds()[tag.Kind()]
}

func (opener) Open(s domain.Sealed) (json.RawMessage, error) { return open(s) }

func open(s domain.Sealed) (json.RawMessage, error) {
	switch s.Text {
	case "away":
		return nil, errAway
	case "erased":
		return nil, domain.ErrErased
	}
	return json.RawMessage(s.Text), nil
}

func sealedText(text string) Personal[string] {
	return Personal[string]{Sealed: &domain.Sealed{Text: text, Subject: somebody.String()}}
}

// withContent are events of each kind that have a content.
func withContent(c Content) []interface {
	domain.Opened
	domain.Sealable
} {
	return []interface {
		domain.Opened
		domain.Sealable
	}{Drafted{Content: c}, Updated{Content: c}, Submitted{Content: &c}, Posted{Content: &c}}
}

func contentOf(t *testing.T, payload domain.Payload) Content {
	t.Helper()
	fact := domain.Fact{ID: someFact, Subjects: []string{somebody.String()}, Payload: payload}
	return Transaction{}.Evolve(fact).(Transaction).Content
}

func TestSealingOfEvents(t *testing.T) {
	t.Parallel()
	content := Content{
		Subjects: []string{somebody.String()}, Description: Personal[string]{Clear: "Ana"},
		Private: Personal[map[string]json.RawMessage]{Clear: map[string]json.RawMessage{"a": json.RawMessage("1")}},
	}
	for _, payload := range withContent(content.hidden()) {
		sealed, err := payload.Seal(func(pointer string, s domain.Secret) (domain.Sealed, error) {
			return domain.Sealed{Text: string(s.Reveal()), Subject: s.Subjects[0], Sensitive: s.Sensitive, Event: someFact, Pointer: pointer}, nil
		})
		require.NoError(t, err)
		values := sealed.(domain.Opened).SealedValues(someFact)
		require.Equal(t, map[string]domain.Sealed{
			"description": {Text: `"Ana"`, Subject: somebody.String(), Event: someFact, Pointer: "/content/description"},
			"private":     {Text: `{"a":1}`, Subject: somebody.String(), Event: someFact, Pointer: "/content/private", Sensitive: true},
		}, values)
		shown := contentOf(t, sealed.(domain.Opened).Shown(map[string]json.RawMessage{"description": json.RawMessage(`"Ana"`), "private": json.RawMessage(`"***"`)}))
		require.Equal(t, "Ana", shown.Description.Clear)
		require.True(t, shown.Private.IsZero())
		gone := contentOf(t, sealed.(domain.Opened).Shown(map[string]json.RawMessage{"description": nil, "private": nil}))
		require.True(t, gone.Description.IsZero())

		_, err = payload.Seal(func(string, domain.Secret) (domain.Sealed, error) { return domain.Sealed{}, errAway })
		require.ErrorIs(t, err, errAway)
	}
	for _, payload := range append(withContent(Content{Description: Personal[string]{Clear: "Rent"}}), Submitted{}, Posted{}) {
		sealed, err := payload.Seal(nil)
		require.NoError(t, err)
		require.Equal(t, domain.Payload(payload), sealed, "nothing was to be sealed")
		require.Empty(t, payload.SealedValues(someFact))
	}
	for _, payload := range withContent(Content{Description: sealedText("x")}) {
		require.Len(t, payload.SealedValues(someFact), 1)
	}
	onlyPrivate := withContent(Content{Private: Personal[map[string]json.RawMessage]{Sealed: &domain.Sealed{Text: "x"}}, Description: Personal[string]{Clear: "Rent"}})[0]
	require.Len(t, onlyPrivate.SealedValues(someFact), 1)
	require.Equal(t, "Rent", contentOf(t, onlyPrivate.Shown(nil)).Description.Clear)
}

// Where a value is sealed is what the event says, and not what the value does.
func TestSealedValuesAreWhereTheirEventIs(t *testing.T) {
	t.Parallel()
	for _, payload := range withContent(Content{Description: sealedText("x"), Private: Personal[map[string]json.RawMessage]{Sealed: &domain.Sealed{Text: "y"}}}) {
		content := contentOf(t, payload)
		require.Equal(t, []string{somebody.String()}, content.Subjects)
		require.Equal(t, domain.Sealed{Text: "x", Subject: somebody.String(), Event: someFact, Pointer: "/content/description"}, *content.Description.Sealed)
		require.Equal(t, domain.Sealed{Text: "y", Event: someFact, Pointer: "/content/private"}, *content.Private.Sealed)
	}
}

// A value is read as what it is, whatever was read before.
func TestPersonalValuesAreReadAnew(t *testing.T) {
	t.Parallel()
	var read Personal[string]
	for _, text := range []string{`{"$sealed":"ARkq","subject":"a"}`, `"Ana"`, `{"$sealed":"ARkq","subject":"a"}`} {
		require.NoError(t, json.Unmarshal([]byte(text), &read))
		require.Equal(t, text == `"Ana"`, read.Sealed == nil)
		require.Equal(t, text == `"Ana"`, read.Clear == "Ana")
	}
}

// What is not sealed yet is not recorded, and is known to what is decided together with it.
func TestSecretsOfOneTurn(t *testing.T) {
	t.Parallel()
	content := Content{
		Subjects: []string{somebody.String()}, Description: Personal[string]{Clear: "Ana"},
		Private: Personal[map[string]json.RawMessage]{Clear: map[string]json.RawMessage{"a": json.RawMessage("1")}},
	}
	hidden := content.hidden()
	_, err := json.Marshal(Drafted{Content: hidden})
	require.ErrorIs(t, err, errNotSealed)
	opened, err := hidden.unlocked(nil)
	require.NoError(t, err)
	require.Equal(t, content, opened)
}

func TestUnveiling(t *testing.T) {
	t.Parallel()
	require.Empty(t, Transaction{}.Subjects())
	for text, want := range map[string]string{`"Ana"`: "Ana", "erased": ""} {
		veiled := Transaction{Content: Content{Description: sealedText(text)}}
		require.Equal(t, []string{somebody.String()}, veiled.Subjects())
		state, err := veiled.Unveil(open)
		require.NoError(t, err)
		require.Equal(t, Personal[string]{Clear: want}, state.(Transaction).Content.Description)
	}
	_, err := Transaction{Content: Content{Description: sealedText("away")}}.Unveil(open)
	require.ErrorIs(t, err, errAway)
}

// A key that cannot be had now is no erased one: nothing is decided.
func TestNothingIsDecidedWithoutTheKeys(t *testing.T) {
	t.Parallel()
	content := Content{Description: sealedText("away")}
	current := Transaction{Status: StatusDraft, Content: content}
	_, err := Patch{Document: json.RawMessage(`{}`)}.Decide(opener{}, current, domain.Meta{})
	require.ErrorIs(t, err, errAway)
	current.Status = StatusPosted
	_, err = Reversal{}.Decide(opener{}, current, domain.Meta{})
	require.ErrorIs(t, err, errAway)

	account := uuid.New()
	line := DraftLine{AccountID: account.String(), Side: "debit", Amount: "1"}
	back := line
	back.Side = "credit"
	made := NewTransaction{Draft: Draft{Date: "2026-03-01", ExternalRef: "r", Lines: []DraftLine{line, back}}}
	_, err = made.Decide(opener{states: map[domain.Tag]domain.State{
		AccountStream(account): Account{ID: account, Kind: Asset, Currency: "EUR"},
		RefTag("r"):            Ref{TransactionID: somebody.String(), First: content, Status: StatusDraft},
	}}, domain.Meta{})
	require.ErrorIs(t, err, errAway)
}

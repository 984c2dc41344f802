package keyring_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// What is about several is sealed by all their keys: whoever of them is erased takes it along.
func TestWhatIsAboutSeveralIsLostWithAnyOfThem(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	r := open(t, url, "hub_command", first)
	plain := json.RawMessage(`"Ana, Ben and Cleo met"`)
	for i := range 3 {
		subjects := []string{fmt.Sprint("ana-", i), fmt.Sprint("ben-", i), fmt.Sprint("cleo-", i)}
		refs := keyring.Refs("acme", subjects)
		for _, ref := range refs {
			r.made(t, ref)
		}
		load := func() keyring.Keys {
			keys, err := open(t, url, "hub_command", first).Load(t.Context(), refs)
			require.NoError(t, err)
			return keys
		}
		value, err := load().Seal("acme", place, domain.NewSecret(plain, true, subjects...))
		require.NoError(t, err)
		read, ok := domain.ParseSealed(value.Data(), place.Event, place.Pointer)
		require.True(t, ok)
		assert.Equal(t, value, read, "the event says all that is needed to open it")
		assert.Equal(t, subjects, read.Subjects())
		opened, err := load().Open("acme", read)
		require.NoError(t, err)
		assert.Equal(t, plain, opened)

		lost, keys := refs[i], load()
		delete(keys, lost)
		_, err = keys.Open("acme", read)
		require.ErrorIs(t, err, domain.ErrErased, "without the key of %s", lost.Subject)
		_, err = keys.Seal("acme", place, domain.NewSecret(plain, true, subjects...))
		require.Error(t, err)
		keys[lost] = r.made(t, keyring.Ref{Org: "acme", Subject: "another than " + lost.Subject})
		_, err = keys.Open("acme", read)
		require.ErrorIs(t, err, keyring.ErrMoved, "by another key in place of that of %s", lost.Subject)

		require.NoError(t, r.Erase(t.Context(), lost, nil))
		_, err = load().Open("acme", read)
		require.ErrorIs(t, err, domain.ErrErased, "after the erasure of %s", lost.Subject)
		_, err = load().Seal("acme", place, domain.NewSecret(plain, true, subjects...))
		require.ErrorIs(t, err, domain.ErrErased)
	}
}

// No layer can be taken off, added or put elsewhere, even by who has some of the keys.
func TestLayersOfASealedValueHoldTogether(t *testing.T) {
	t.Parallel()
	r := open(t, hubtest.Database(t, hubtest.Log()), "hub_command", first)
	ana, ben, cleo := r.made(t, ana), r.made(t, keyring.Ref{Org: "acme", Subject: "ben"}), r.made(t, keyring.Ref{Org: "acme", Subject: "cleo"})
	foreign := r.made(t, keyring.Ref{Org: "other", Subject: "ben"})
	text, err := keyring.Seal(place, []byte("7"), ana, ben)
	require.NoError(t, err)
	single, err := keyring.Seal(place, []byte("7"), ana)
	require.NoError(t, err)

	for name, keys := range map[string][]*keyring.Key{
		"the outer layer alone":   {ana},
		"the inner layer alone":   {ben},
		"in another order":        {ben, ana},
		"with a further subject":  {ana, ben, cleo},
		"for another subject":     {ana, cleo},
		"in another organisation": {ana, foreign},
	} {
		_, err = keyring.Open(place, text, keys...)
		require.ErrorIs(t, err, keyring.ErrMoved, name)
	}
	_, err = keyring.Open(place, single, ana, ben)
	require.ErrorIs(t, err, keyring.ErrMoved)
	_, err = keyring.Open(keyring.Place{Event: place.Event, Pointer: "/private"}, text, ana, ben)
	require.ErrorIs(t, err, keyring.ErrMoved)

	for _, keys := range [][]*keyring.Key{nil, {ana, ana}, {ana, ben, ana}} {
		_, err = keyring.Seal(place, []byte("7"), keys...)
		require.Error(t, err)
		_, err = keyring.Open(place, text, keys...)
		require.Error(t, err)
	}
}

// A value costs a few dozen bytes more for each of its subjects, and there is a most of them.
func TestSubjectsOfOneValueAreBounded(t *testing.T) {
	t.Parallel()
	r := open(t, hubtest.Database(t, hubtest.Log()), "hub_command", first)
	var keys []*keyring.Key
	for i := range domain.MaxSealingSubjects + 1 {
		key, err := r.New(keyring.Ref{Org: "acme", Subject: fmt.Sprint(i)})
		require.NoError(t, err)
		keys = append(keys, key)
	}
	plain := make([]byte, 1000)
	text, err := keyring.Seal(place, plain, keys[:domain.MaxSealingSubjects]...)
	require.NoError(t, err)
	assert.Less(t, base64.RawStdEncoding.DecodedLen(len(text)), len(plain)+domain.MaxSealingSubjects*40)
	opened, err := keyring.Open(place, text, keys[:domain.MaxSealingSubjects]...)
	require.NoError(t, err)
	assert.Equal(t, plain, opened)
	_, err = keyring.Seal(place, plain, keys...)
	require.Error(t, err)
	_, err = keyring.Open(place, text, keys...)
	require.Error(t, err)
}

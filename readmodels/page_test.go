package readmodels

import (
	"encoding/base64"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/problem"
)

func sealer() *Store { return New(Options{CursorKey: []byte("sixteen bytes or more")}) }

var scope = cursorScope{org: "acme", route: "entities", sort: "key", filters: []string{"a", "b"}}

func TestCursorsSurviveOnlyInTheirOwnList(t *testing.T) {
	t.Parallel()
	s := sealer()
	value := "C-17\x00ü"
	want := cursor{Epoch: uuid.New(), Value: &value, ID: uuid.New()}
	text, err := s.seal(want, scope)
	require.NoError(t, err)
	require.Regexp(t, `^[A-Za-z0-9_-]+$`, text)
	got, err := s.open(text, scope)
	require.NoError(t, err)
	require.Equal(t, want, got)
	again, err := s.seal(want, scope)
	require.NoError(t, err)
	require.Equal(t, text, again, "a list that did not change keeps its cursor")

	foreign := []cursorScope{
		{org: "other", route: "entities", sort: "key", filters: []string{"a", "b"}},
		{org: "acme", route: "types", sort: "key", filters: []string{"a", "b"}},
		{org: "acme", route: "entities", sort: "-key", filters: []string{"a", "b"}},
		{org: "acme", route: "entities", sort: "key", filters: []string{"ab", ""}},
		{org: "acme", route: "entities", sort: "key", filters: []string{"a"}},
		{org: "acm", route: "eentities", sort: "key", filters: []string{"a", "b"}},
	}
	for _, other := range foreign {
		_, err := s.open(text, other)
		requireInvalid(t, err)
	}
	_, err = New(Options{CursorKey: []byte("another key altogether")}).open(text, scope)
	requireInvalid(t, err)
}

func TestJunkCursorsAreRefused(t *testing.T) {
	t.Parallel()
	s := sealer()
	good, err := s.seal(cursor{Epoch: uuid.New(), ID: uuid.New()}, scope)
	require.NoError(t, err)
	for _, junk := range []string{
		"", "x", "%", good + "A", good[1:], good[:len(good)-2], "\x00", base64.RawURLEncoding.EncodeToString(make([]byte, 16)),
		string(make([]byte, maxCursorBytes+1)),
	} {
		_, err := s.open(junk, scope)
		requireInvalid(t, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	require.NoError(t, err)
	for i := range raw {
		raw[i] ^= 1
		_, err := s.open(base64.RawURLEncoding.EncodeToString(raw), scope)
		requireInvalid(t, err)
		raw[i] ^= 1
	}
}

func requireInvalid(t *testing.T, err error) {
	t.Helper()
	p := problem.Of(err)
	require.NotNil(t, p)
	require.Equal(t, "invalid_cursor", p.Code)
	require.Equal(t, problem.Malformed, p.Kind)
}

func FuzzCursor(f *testing.F) {
	s := sealer()
	good, err := s.seal(cursor{Epoch: uuid.New(), ID: uuid.New()}, scope)
	require.NoError(f, err)
	f.Add(good)
	f.Add("junk")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := s.open(text, scope)
		if err != nil {
			requireInvalid(t, err)
			return
		}
		again, err := s.seal(c, scope)
		require.NoError(t, err)
		require.Equal(t, text, again, "only what was sealed opens")
	})
}

func TestAttributeValuesMatchWhatIsWrittenLikeThem(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]string{
		"Paris":    {`"Paris"`},
		"12":       {`"12"`, `12`},
		"-1.50e2":  {`"-1.50e2"`, `-1.50e2`},
		"true":     {`"true"`, `true`},
		"null":     {`"null"`},
		"":         {`""`},
		"012":      {`"012"`},
		"+1":       {`"+1"`},
		"\t1\n":    {`"\t1\n"`},
		"-":        {`"-"`},
		"NaN":      {`"NaN"`},
		"1e999999": {`"1e999999"`},
		`"x"`:      {`"\"x\""`},
		"{}":       {`"{}"`},
	} {
		require.Equal(t, want, candidates(value), value)
	}
}

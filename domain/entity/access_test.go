package entity_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var editing = entity.Access{Read: true, Write: true, Share: true}

// entries reads "user:ana rws", and "-user:ana w" for what is denied.
func entries(texts ...string) []entity.ACLEntry {
	list := []entity.ACLEntry{}
	for _, text := range texts {
		text, deny := strings.CutPrefix(text, "-")
		principal, letters, _ := strings.Cut(text, " ")
		entry := entity.ACLEntry{Principal: principal, Deny: deny}
		for _, right := range entity.Rights() {
			if strings.Contains(letters, string(right[0])) {
				entry.Rights = append(entry.Rights, right)
			}
		}
		list = append(list, entry)
	}
	return list
}

func TestAllowedTo(t *testing.T) {
	ana := entity.Principals("ana", []string{"editor"}, []string{"sales", "user:bob"})
	require.Equal(t, []string{"user:ana", "role:editor", "group:sales", "group:user:bob"}, ana)
	for _, test := range []struct {
		entries []entity.ACLEntry
		want    entity.Access
	}{
		{nil, editing},
		{entries("user:ana r"), entity.Access{Read: true}},
		{entries("user:bob rws"), entity.Access{}},
		{entries("role:editor w"), entity.Access{Read: true, Write: true}},
		{entries("group:sales s"), entity.Access{Read: true, Share: true}},
		{entries("user:ana rw", "group:sales s"), editing},
		{entries("user:ana rws", "-group:sales w"), entity.Access{Read: true, Share: true}},
		{entries("user:ana rws", "-role:editor r"), entity.Access{}},
		{entries("user:ana rws", "-user:bob rws"), editing},
		{entries("-user:bob r"), entity.Access{}},
		{entries("-user:ana w"), entity.Access{}},
	} {
		require.Equal(t, test.want, entity.AllowedTo(ana, test.entries, editing), "%v", test.entries)
		admin := entity.Principals("ana", []string{"admin"}, nil)
		require.Equal(t, editing, entity.AllowedTo(admin, test.entries, entity.Access{}), "%v", test.entries)
	}
}

func TestExplain(t *testing.T) {
	ana := entity.Principals("ana", []string{"editor"}, nil)
	for _, test := range []struct {
		principals []string
		entries    []entity.ACLEntry
		right      entity.Right
		grounds    entity.Grounds
		by         []entity.ACLEntry
	}{
		{[]string{"role:admin"}, entries("-role:admin rws"), entity.MayShare, entity.ByAdmin, nil},
		{ana, nil, entity.MayWrite, entity.ByRole, nil},
		{ana, nil, "paint", entity.NoRole, nil},
		{ana, entries("user:bob r"), entity.MayRead, entity.NotAllowed, nil},
		{ana, entries("user:ana r"), entity.MayWrite, entity.NotAllowed, nil},
		{ana, entries("user:ana w", "user:bob r"), entity.MayRead, entity.ByEntry, entries("user:ana w")},
		{ana, entries("user:ana rw", "-role:editor rs"), entity.MayWrite, entity.ByDenial, entries("-role:editor rs")},
	} {
		allowed, grounds, by := entity.Explain(test.principals, test.entries, editing, test.right)
		require.Equal(t, test.grounds, grounds, "%+v", test)
		require.Equal(t, test.by, by, "%+v", test)
		require.Equal(t, grounds == entity.ByAdmin || grounds == entity.ByRole || grounds == entity.ByEntry, allowed, "%+v", test)
	}
}

// What lists compare comes to the same as asking of each entity.
func TestReadersAreThoseWhoMayRead(t *testing.T) {
	for _, acl := range [][]entity.ACLEntry{
		entries("user:ana s", "-group:x r"), entries("-user:ana w", "user:ana r"), entries("-user:ana r", "user:ana rws"), entries("group:x w"), entries("-group:x s"),
	} {
		allowed, denied := entity.Readers(acl)
		for _, who := range [][]string{{"user:ana"}, {"user:ana", "group:x"}, {"group:x"}, {"user:bob"}} {
			seen := slices.ContainsFunc(who, func(name string) bool { return slices.Contains(allowed, name) }) &&
				!slices.ContainsFunc(who, func(name string) bool { return slices.Contains(denied, name) })
			require.Equal(t, seen, entity.AllowedTo(who, acl, editing).Read, "%v %v", who, acl)
		}
	}
}

func TestExpect(t *testing.T) {
	require.NoError(t, entity.Access{Read: true}.Expect(entity.MayRead))
	require.NoError(t, editing.Expect(entity.MayShare))
	require.Equal(t, problem.NotFound, problem.Of(entity.Access{}.Expect(entity.MayRead)).Kind)
	require.Equal(t, problem.NotFound, problem.Of(entity.Access{Write: true}.Expect(entity.MayWrite)).Kind)
	for _, right := range []entity.Right{entity.MayWrite, entity.MayShare, "paint"} {
		require.Equal(t, problem.Forbidden, problem.Of(entity.Access{Read: true}.Expect(right)).Kind)
	}
}

func TestSharing(t *testing.T) {
	ana := []string{"user:ana", "role:editor"}
	share := func(before, after []entity.ACLEntry) ([]domain.Fact, error) {
		return entity.Sharing{ID: id, Entries: after}.Decide(entity.Entity{Type: "thing", ACL: before}, ana, editing)
	}
	// One entry for what a principal is allowed and one for what it is denied, sorted.
	facts, err := share(nil, append(entries("user:bob w", "-group:x r", "group:x w", "user:bob rs"), entries("group:x w")...))
	require.NoError(t, err)
	want := entries("group:x w", "-group:x r", "user:bob rws")
	require.Equal(t, []domain.Fact{{Stream: entity.Stream(id), Payload: entity.AccessChanged{Entries: want}}}, facts)
	facts, err = share(want, entries("user:bob rws", "-group:x r", "group:x w"))
	require.NoError(t, err)
	require.Empty(t, facts)
	facts, err = share(nil, nil)
	require.NoError(t, err)
	require.Empty(t, facts)

	for _, test := range []struct {
		before, after []entity.ACLEntry
		allowed       bool
	}{
		{entries("user:ana rs"), entries("user:ana rs", "user:bob rs"), true},
		{entries("user:ana rs"), entries("user:ana rs", "user:bob rw"), false},
		{entries("user:ana rs"), entries("user:ana rws"), false},
		{entries("user:ana rs"), nil, false},
		{entries("user:ana rws"), nil, true},
		{entries("user:ana s"), entries(), false},
		{entries("user:ana s", "user:bob w"), entries("user:bob w"), true},
		// What one may not do, one may not stop denying.
		{entries("user:ana rws", "-role:editor w"), entries("user:ana rws"), false},
		{entries("user:ana rs", "group:x w", "-user:bob w"), entries("user:ana rs", "group:x w"), false},
		{entries("user:ana rs", "group:x w", "-user:bob s"), entries("user:ana rs", "group:x w"), true},
		{nil, entries("user:ana r"), true},
	} {
		_, err := share(test.before, test.after)
		require.Equal(t, test.allowed, err == nil, "%v to %v: %v", test.before, test.after, err)
		if err != nil {
			require.Equal(t, "cannot_grant", problem.Of(err).Code)
		}
	}
}

func TestSharingRefusesBadEntries(t *testing.T) {
	for _, test := range []struct {
		entries  []entity.ACLEntry
		location string
	}{
		{entries("user:ana r", "ana r"), "body.entries/1/principal"},
		{entries("team:x r"), "body.entries/0/principal"},
		{entries("user: r"), "body.entries/0/principal"},
		{entries("user:" + strings.Repeat("é", 256) + " r"), "body.entries/0/principal"},
		{[]entity.ACLEntry{{Principal: "user:a\x00", Rights: entity.Rights()}}, "body.entries/0/principal"},
		{entries("user:ana"), "body.entries/0/permissions"},
		{[]entity.ACLEntry{{Principal: "user:ana", Rights: []entity.Right{"read", "delete"}}}, "body.entries/0/permissions"},
		{slices.Repeat(entries("user:ana r"), 101), "body.entries"},
	} {
		_, err := entity.Sharing{ID: id, Entries: test.entries}.Decide(entity.Entity{Type: "thing"}, nil, editing)
		require.Error(t, err, "%v", test.entries)
		require.Equal(t, "invalid_acl", problem.Of(err).Code)
		require.Equal(t, test.location, problem.Of(err).Fields[0].Location)
	}
}

// Whoever may share can share as often as they like and with whom: nobody in their name
// ever comes to a right that its giver had not.
func TestSharingNeverGrowsWhatItsAuthorMayDo(t *testing.T) {
	principal := rapid.SampledFrom([]string{"user:ana", "role:editor", "group:x", "user:bob"})
	acl := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entity.ACLEntry {
		rights := rapid.SliceOfNDistinct(rapid.SampledFrom(entity.Rights()), 1, 3, rapid.ID).Draw(t, "rights")
		return entity.ACLEntry{Principal: principal.Draw(t, "principal"), Rights: rights, Deny: rapid.Bool().Draw(t, "deny")}
	}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		author := []string{"user:ana", "group:x"}
		everybody := entity.Principals("bob", []string{"editor"}, []string{"x"})
		var open entity.Access // of the author's roles
		open.Read = rapid.Bool().Draw(t, "reads")
		current := entity.Entity{Type: "thing", ACL: acl.Draw(t, "before")}
		own := entity.AllowedTo(author, current.ACL, open)
		if !own.Share {
			return // Open refuses
		}
		before := entity.AllowedTo(everybody, current.ACL, editing)
		facts, err := entity.Sharing{ID: id, Entries: acl.Draw(t, "after")}.Decide(current, author, open)
		if err != nil || len(facts) == 0 {
			return
		}
		after := current.Evolve(facts[0]).(entity.Entity)
		others := entity.AllowedTo(everybody, after.ACL, editing).Write && !before.Write
		if !own.Write && (others || entity.AllowedTo(author, after.ACL, open).Write) {
			t.Fatalf("%v was made %v by somebody who holds %+v", current.ACL, after.ACL, own)
		}
	})
}

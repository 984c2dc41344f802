package entity

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Right is one thing that may be done with an entity.
type Right string

// The rights. To change or to share an entity is to see it, too.
const (
	MayRead  Right = "read"
	MayWrite Right = "write" // change, archive, restore, relate
	MayShare Right = "share" // see and change who may do what
)

// Rights are all of them, in the order in which entries list them.
func Rights() []Right { return []Right{MayRead, MayWrite, MayShare} }

// ACLEntry allows a principal something with one entity, or denies it. An entity without
// entries is open to all whose roles allow it; one with entries only to the principals
// named, and to admins.
type ACLEntry struct {
	// Principal is user:<sub>, role:<role> or group:<group>.
	Principal string  `json:"principal"`
	Rights    []Right `json:"permissions"`
	Deny      bool    `json:"deny,omitzero"`
}

const (
	// maxACLEntries bounds what every look at an entity compares; more principals than
	// that are a group.
	maxACLEntries = 100
	// maxPrincipalName is, in characters, as long as the names in tokens may be.
	maxPrincipalName = 255
)

// The kinds of principals, with the colon that ends each.
const (
	userPrefix  = "user:"
	rolePrefix  = "role:"
	groupPrefix = "group:"
	// admin holds every right on every entity.
	admin = rolePrefix + "admin"
)

// Principals are the names that a caller goes by in entries.
func Principals(sub string, roles, groups []string) []string {
	names := make([]string, 0, 1+len(roles)+len(groups))
	names = append(names, userPrefix+sub)
	for _, role := range roles {
		names = append(names, rolePrefix+role)
	}
	for _, group := range groups {
		names = append(names, groupPrefix+group)
	}
	return names
}

// SeesAll reports whether entries are nothing to a caller of these names.
func SeesAll(principals []string) bool { return slices.Contains(principals, admin) }

// Access is what somebody may do with one entity.
type Access struct{ Read, Write, Share bool }

// AllowedTo gives the access of a caller to an entity with these entries. open is what
// the caller's roles allow where there are none.
func AllowedTo(principals []string, entries []ACLEntry, open Access) Access {
	read, _, _ := Explain(principals, entries, open, MayRead)
	write, _, _ := Explain(principals, entries, open, MayWrite)
	share, _, _ := Explain(principals, entries, open, MayShare)
	return Access{read, write, share}
}

// Readers are the principals that entries let see the entity, and those that they keep
// from it whatever else lets them.
func Readers(entries []ACLEntry) (allowed, denied []string) {
	for _, entry := range entries {
		switch {
		case !entry.Deny:
			allowed = append(allowed, entry.Principal)
		case slices.Contains(entry.Rights, MayRead):
			denied = append(denied, entry.Principal)
		}
	}
	return allowed, denied
}

// Grounds say why a right is held or not.
type Grounds string

// The grounds, in the order in which they are looked for.
const (
	ByAdmin    Grounds = "admin"     // allowed: entries are nothing to admins
	ByRole     Grounds = "role"      // allowed: there are no entries, and a role allows it
	NoRole     Grounds = "no_role"   // not: there are no entries, and no role allows it
	ByDenial   Grounds = "denied"    // not: an entry denies it, or to see the entity
	ByEntry    Grounds = "allowed"   // allowed: entries do, and none denies it
	NotAllowed Grounds = "not_named" // not: no entry allows it, and roles do not count beside entries
)

// Explain says whether somebody holds a right, why, and by which entries.
func Explain(principals []string, entries []ACLEntry, open Access, right Right) (bool, Grounds, []ACLEntry) {
	var allowing, denying []ACLEntry
	for _, entry := range entries {
		switch {
		case !slices.Contains(principals, entry.Principal):
		case entry.Deny && (slices.Contains(entry.Rights, right) || slices.Contains(entry.Rights, MayRead)):
			denying = append(denying, entry)
		case !entry.Deny && (slices.Contains(entry.Rights, right) || right == MayRead):
			allowing = append(allowing, entry)
		}
	}
	switch {
	case SeesAll(principals):
		return true, ByAdmin, nil
	case len(entries) == 0 && open.holds(right):
		return true, ByRole, nil
	case len(entries) == 0:
		return false, NoRole, nil
	case len(denying) > 0:
		return false, ByDenial, denying
	case len(allowing) > 0:
		return true, ByEntry, allowing
	}
	return false, NotAllowed, nil
}

// holds reports one of the rights.
func (a Access) holds(right Right) bool {
	switch right {
	case MayRead:
		return a.Read
	case MayWrite:
		return a.Write
	case MayShare:
		return a.Share
	}
	return false
}

// Expect refuses what the access does not allow. Problems: not_found where the entity
// cannot be seen, as if it were not there; forbidden.
func (a Access) Expect(right Right) error {
	switch {
	case !a.Read:
		return noEntity()
	case !a.holds(right):
		return problem.New(problem.Forbidden, "forbidden", "You may not do this with this entity: it needs the permission %s on it.", right)
	}
	return nil
}

// Sharing gives an entity new entries in place of all that it has.
type Sharing struct {
	ID      uuid.UUID
	Entries []ACLEntry
}

// Decide changes the entries, or nothing. Who gives a right must hold it, so that nobody
// comes to more by sharing. Problems: invalid_acl, cannot_grant.
func (s Sharing) Decide(current Entity, principals []string, open Access) ([]domain.Fact, error) {
	entries, err := normalEntries(s.Entries)
	if err != nil {
		return nil, err
	}
	if sameEntries(entries, current.ACL) {
		return nil, nil
	}
	if grantsMore(current.ACL, entries, AllowedTo(principals, current.ACL, open)) {
		return nil, problem.New(problem.Forbidden, "cannot_grant", "These entries would give permissions that you do not hold on this entity.")
	}
	return []domain.Fact{{Stream: Stream(s.ID), Payload: AccessChanged{Entries: entries}}}, nil
}

// grantsMore reports whether entries give somebody a right that their author does not
// hold: by allowing it, by not denying it any more, or by leaving all to roles again.
func grantsMore(before, after []ACLEntry, own Access) bool {
	if len(after) == 0 && !own.Write {
		return true
	}
	gives := func(entries, unless []ACLEntry, deny bool) bool {
		return slices.ContainsFunc(entries, func(entry ACLEntry) bool {
			return entry.Deny == deny && slices.ContainsFunc(entry.Rights, func(right Right) bool {
				return !own.holds(right) && !says(unless, entry.Principal, right, deny)
			})
		})
	}
	return gives(after, before, false) || gives(before, after, true)
}

func says(entries []ACLEntry, principal string, right Right, deny bool) bool {
	return slices.ContainsFunc(entries, func(entry ACLEntry) bool {
		return entry.Principal == principal && entry.Deny == deny && slices.Contains(entry.Rights, right)
	})
}

// normalEntries checks entries and gives them in one form: one for each principal that is
// allowed something and one for each that is denied something, sorted. Problem: invalid_acl.
func normalEntries(entries []ACLEntry) ([]ACLEntry, error) {
	normal := []ACLEntry{}
	var faults []problem.Field
	for i, entry := range entries {
		if fault := entryFault(entry); fault.Message != "" {
			fault.Location = "body.entries/" + strconv.Itoa(i) + fault.Location
			faults = append(faults, fault)
			continue
		}
		same := func(other ACLEntry) bool { return other.Principal == entry.Principal && other.Deny == entry.Deny }
		if at := slices.IndexFunc(normal, same); at >= 0 {
			normal[at].Rights = inOrder(append(normal[at].Rights, entry.Rights...))
			continue
		}
		normal = append(normal, ACLEntry{entry.Principal, inOrder(entry.Rights), entry.Deny})
	}
	if len(entries) > maxACLEntries {
		faults = []problem.Field{{Location: "body.entries", Message: fmt.Sprintf("must have at most %d items", maxACLEntries)}}
	}
	if len(faults) > 0 {
		return nil, problem.New(problem.Invalid, "invalid_acl", "The entries cannot be used; errors says why.").With(faults[:min(len(faults), maxFields)]...)
	}
	slices.SortFunc(normal, func(a, b ACLEntry) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(strconv.FormatBool(a.Deny), strconv.FormatBool(b.Deny)))
	})
	return normal, nil
}

// entryFault says what is wrong with an entry, and where in it.
func entryFault(entry ACLEntry) problem.Field {
	kind, name, found := strings.Cut(entry.Principal, ":")
	switch {
	case !found || !slices.Contains([]string{userPrefix, rolePrefix, groupPrefix}, kind+":"):
		return problem.Field{Location: "/principal", Message: "must be user:, role: or group: and a name"}
	case name == "":
		return problem.Field{Location: "/principal", Message: "must have a name behind the colon"}
	case textFault(name, maxPrincipalName) != "":
		return problem.Field{Location: "/principal", Message: textFault(name, maxPrincipalName)}
	case len(entry.Rights) == 0:
		return problem.Field{Location: "/permissions", Message: "must name at least one of read, write and share"}
	case slices.ContainsFunc(entry.Rights, func(r Right) bool { return !slices.Contains(Rights(), r) }):
		return problem.Field{Location: "/permissions", Message: "can hold read, write and share"}
	}
	return problem.Field{}
}

// inOrder are the rights in the order of Rights, each once, in a slice of its own.
func inOrder(rights []Right) []Right {
	return slices.DeleteFunc(Rights(), func(right Right) bool { return !slices.Contains(rights, right) })
}

func sameEntries(a, b []ACLEntry) bool {
	return slices.EqualFunc(a, b, func(x, y ACLEntry) bool {
		return x.Principal == y.Principal && x.Deny == y.Deny && slices.Equal(x.Rights, y.Rights)
	})
}

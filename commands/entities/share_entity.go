package entities

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// ShareEntity says who may do what with an entity.
//
// Permission: share on the entity. Reads: the entity.
type ShareEntity struct {
	ID uuid.UUID
	// Entries are all that there shall be; none leave it to roles.
	Entries []entity.ACLEntry
}

// Boundaries names what the decision depends on.
func (c ShareEntity) Boundaries(r domain.Reader) []domain.Tag {
	return withKeys(r, []domain.Tag{entity.Stream(c.ID)}, c.ID)
}

// Decide changes the entries.
func (c ShareEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayShare, open(m))
	if err != nil {
		return domain.Decision{}, err
	}
	if err := knownRoles(c.Entries); err != nil {
		return domain.Decision{}, err
	}
	facts, err := entity.Sharing{ID: c.ID, Entries: c.Entries}.Decide(current, entity.CallerOf(m), open(m))
	return decision(r, c.ID, facts), err
}

// knownRoles refuses roles that no token can carry to any effect: a slip of the pen there
// would close the entity to those it is meant for. Problem: invalid_acl.
func knownRoles(entries []entity.ACLEntry) error {
	for i, entry := range entries {
		if role, isRole := strings.CutPrefix(entry.Principal, "role:"); isRole && !slices.Contains(commands.Roles(), role) {
			return problem.New(problem.Invalid, "invalid_acl", "The entries cannot be used; errors says why.").With(problem.Field{
				Location: "body.entries/" + strconv.Itoa(i) + "/principal", Message: "must name one of the roles " + strings.Join(commands.Roles(), ", "),
			})
		}
	}
	return nil
}

// open is what the caller's roles allow with entities that have no entries.
func open(m domain.Meta) entity.Access { return OpenTo(m.Roles) }

// OpenTo is what roles allow with entities that have no ACL entries. Who may write one may
// share it, too.
func OpenTo(roles []string) entity.Access {
	write := commands.Allowed(commands.EntitiesWrite, roles)
	return entity.Access{Read: commands.Allowed(commands.EntitiesRead, roles), Write: write, Share: write}
}

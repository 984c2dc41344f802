package httpapi

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// principals are the names that the caller goes by in ACL entries.
func (e *exchange) principals() []string {
	return entity.Principals(e.caller.Sub, e.caller.Roles, e.caller.Groups)
}

// reader is the caller as one who asks for entities.
func (e *exchange) reader() readmodels.Reader {
	return readmodels.Reader{Org: e.caller.Org, Principals: e.principals()}
}

// ACLEntry is an entry as it is sent.
type ACLEntry struct {
	Principal   string   `json:"principal" minLength:"1" doc:"Who: user:, role: or group: and a name, as tokens have it." example:"group:sales"`
	Permissions []string `json:"permissions" doc:"What: read, write (change, archive, restore) and share (see and change these entries). To write or share is to read, too." example:"[\"read\",\"write\"]"`
	Deny        bool     `json:"deny,omitempty" doc:"true denies it, whatever else allows it. To be denied read is to be denied all."`
}

// ACL is who may do what with an entity.
type ACL struct {
	Entries []ACLEntry `json:"entries" nullable:"false" doc:"At most 100. Without any, roles decide; with some, only the principals named and admins."`
}

func aclOf(entries []entity.ACLEntry) ACL {
	acl := ACL{Entries: []ACLEntry{}}
	for _, entry := range entries {
		sent := ACLEntry{Principal: entry.Principal, Deny: entry.Deny}
		for _, right := range entry.Rights {
			sent.Permissions = append(sent.Permissions, string(right))
		}
		acl.Entries = append(acl.Entries, sent)
	}
	return acl
}

type putEntityACLInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Body ACL
}

func (a *API) shareEntity(ctx context.Context, in *putEntityACLInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	share := entities.ShareEntity{ID: id}
	for _, sent := range in.Body.Entries {
		entry := entity.ACLEntry{Principal: sent.Principal, Deny: sent.Deny}
		for _, permission := range sent.Permissions {
			entry.Rights = append(entry.Rights, entity.Right(permission))
		}
		share.Entries = append(share.Entries, entry)
	}
	return a.changeEntity(ctx, id, share)
}

func (a *API) getEntityACL(ctx context.Context, in *entityInput) (*view[ACL], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	e := exchangeOf(ctx)
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityACL, readmodels.Snapshot, error) {
		found, at, err := a.reads.EntityACL(ctx, e.caller.Org, id)
		if err == nil {
			err = entity.AllowedTo(e.principals(), found.Entries, entities.OpenTo(e.caller.Roles)).Expect(entity.MayShare)
		}
		return found, at, err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, aclOf(found.Entries), at, found.Version, shape{}, nil)
}

type entityAccessInput struct {
	ID        string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Principal string `query:"principal" doc:"Of whom: user:, role: or group: and a name; the caller when absent. Of a user, roles and groups are those of the latest token that was seen." example:"user:ana"`
}

// EntityAccess explains what somebody may do with an entity.
type EntityAccess struct {
	Principal string   `json:"principal" doc:"Of whom." example:"user:ana"`
	Known     bool     `json:"known" doc:"Whether a user of this name has been seen here; true for roles and groups."`
	Roles     []string `json:"roles" doc:"The roles that were taken into account." example:"[\"editor\"]"`
	Groups    []string `json:"groups" doc:"The groups that were taken into account." example:"[\"sales\"]"`
	Read      Verdict  `json:"read"`
	Write     Verdict  `json:"write"`
	Share     Verdict  `json:"share"`
}

// Verdict is whether something is allowed, and why.
type Verdict struct {
	Allowed bool       `json:"allowed"`
	Because string     `json:"because" enum:"admin,role,no_role,allowed,denied,not_named" doc:"admin: admins may do everything. role: the entity has no entries, and a role allows it. no_role: no role allows it; to auditors and to who has no role nothing is allowed that their roles do not, whatever entries say. allowed, denied: by the entries given. not_named: the entity has entries, and none allows it."`
	Entries []ACLEntry `json:"entries" doc:"The entries that decided."`
}

// access tells callers about themselves, and about others if they may share the entity.
func (a *API) getEntityAccess(ctx context.Context, in *entityAccessInput) (*view[EntityAccess], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	e := exchangeOf(ctx)
	asked, err := askedOf(e, in.Principal)
	if err != nil {
		return nil, err
	}
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityACL, readmodels.Snapshot, error) {
		return a.entityACLFor(ctx, e, id, asked)
	})
	if err != nil {
		return nil, err
	}
	text, err := encodeJSON(asked.explained(found.Entries))
	if err != nil {
		return nil, err
	}
	return answer[EntityAccess](ctx, at, contentTag(at, text), func() ([]byte, error) { return text, nil })
}

// entityACLFor reads the entries and, of a user, what the directory knows.
func (a *API) entityACLFor(ctx context.Context, e *exchange, id uuid.UUID, asked *asking) (found readmodels.EntityACL, at readmodels.Snapshot, err error) {
	needed := entity.MayRead
	switch sub, isUser := strings.CutPrefix(asked.Principal, "user:"); {
	case asked.self:
		found, at, err = a.reads.EntityACL(ctx, e.caller.Org, id)
	case isUser:
		var member readmodels.Membership
		found, member, at, err = a.reads.EntityACLWith(ctx, e.caller.Org, id, sub)
		asked.Known, asked.Roles, asked.Groups, needed = member.Known, member.Roles, member.Groups, entity.MayShare
	default:
		found, at, err = a.reads.EntityACL(ctx, e.caller.Org, id)
		needed = entity.MayShare
	}
	if err == nil {
		err = entity.AllowedTo(e.principals(), found.Entries, entities.OpenTo(e.caller.Roles)).Expect(needed)
	}
	return found, at, err
}

// asking is what is asked about access.
type asking struct {
	EntityAccess
	self bool
}

// askedOf reads the parameter principal. Problem: invalid_principal.
func askedOf(e *exchange, principal string) (*asking, error) {
	if principal == "" || principal == "user:"+e.caller.Sub {
		return &asking{EntityAccess{Principal: "user:" + e.caller.Sub, Known: true, Roles: e.caller.Roles, Groups: e.caller.Groups}, true}, nil
	}
	kind, name, _ := strings.Cut(principal, ":")
	asked := &asking{EntityAccess: EntityAccess{Principal: principal, Known: true}}
	switch {
	case name == "" || strings.ContainsRune(name, 0):
	case kind == "role" && !slices.Contains(commands.Roles(), name):
		return nil, invalidPrincipal("must name one of the roles " + strings.Join(commands.Roles(), ", "))
	case kind == "role":
		asked.Roles = []string{name}
		return asked, nil
	case kind == "group":
		asked.Groups = []string{name}
		return asked, nil
	case kind == "user":
		return asked, nil
	}
	return nil, invalidPrincipal("must be user:, role: or group: and a name")
}

func invalidPrincipal(message string) error {
	return problem.New(problem.Invalid, "invalid_principal", "The principal cannot be used.").
		With(problem.Field{Location: "query.principal", Message: message})
}

// explained is the answer, once the roles and groups are known.
func (x *asking) explained(entries []entity.ACLEntry) EntityAccess {
	access := x.EntityAccess
	access.Roles, access.Groups = append([]string{}, x.Roles...), append([]string{}, x.Groups...)
	names := entity.Principals("", x.Roles, x.Groups)[1:]
	if strings.HasPrefix(x.Principal, "user:") {
		names = slices.Insert(names, 0, x.Principal)
	}
	verdict := func(right entity.Right, needed commands.Permission) Verdict {
		if x.rolesKnown() && !commands.Allowed(needed, x.Roles) {
			return Verdict{Because: string(entity.NoRole), Entries: []ACLEntry{}}
		}
		allowed, because, by := entity.Explain(names, entries, entities.OpenTo(x.Roles), right)
		return Verdict{Allowed: allowed, Because: string(because), Entries: aclOf(by).Entries}
	}
	access.Read, access.Write = verdict(entity.MayRead, commands.EntitiesRead), verdict(entity.MayWrite, commands.EntitiesChange)
	access.Share = verdict(entity.MayShare, commands.EntitiesChange)
	return access
}

// rolesKnown reports whether the roles are all that the principal has: those of a group's
// members differ, and of a user whom nobody has seen nothing is known.
func (x *asking) rolesKnown() bool {
	return x.Known && !strings.HasPrefix(x.Principal, "group:")
}

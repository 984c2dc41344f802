package httpapi

import (
	"context"
	"encoding/json"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/readmodels"
)

type listMembersInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	Count  bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"sub,roles"`
	Role   string `query:"role" maxLength:"255" doc:"Only who has this role." example:"approver"`
	Group  string `query:"group" maxLength:"255" doc:"Only who is in this group." example:"sales"`
	Person string `query:"person" maxLength:"255" doc:"Only the logins of this person." example:"p-7"`
}

func (a *API) listMembers(ctx context.Context, in *listMembersInput) (*view[readmodels.MemberPage], error) {
	shape, err := shapeOf[readmodels.Member](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.MemberPage, readmodels.Snapshot, error) {
		return a.reads.Members(ctx, org, readmodels.MemberQuery{
			Page: readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count}, Role: in.Role, Group: in.Group, Person: in.Person,
		})
	})
	if err != nil {
		return nil, err
	}
	if err := a.revealMembers(ctx, page.Items, shape); err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

// revealMembers puts names and addresses in place of their masks for who may see them: the
// role privacy, and each person its own. The answer records that first. Problem:
// clear_reads_unavailable.
func (a *API) revealMembers(ctx context.Context, items []readmodels.Member, as shape) error {
	e := exchangeOf(ctx)
	var places []**string
	var values []domain.Sealed
	var seen sight
	for i := range items {
		if !e.seesClear() && items[i].Person != e.caller.Person {
			continue
		}
		for name, shown := range map[string]**string{"name": &items[i].Name, "email": &items[i].Email} {
			value, known := items[i].Sealed[name]
			if _, selected := as.fields[name]; !known || as.fields != nil && !selected {
				continue
			}
			if !belongs(value, member.Subject(items[i].Sub), "/"+name) {
				return cannotShow(errMisplaced)
			}
			places, values = append(places, shown), append(values, value)
			seen.of(value)
			seen.attributes[name] = true
		}
	}
	if len(values) == 0 {
		return nil
	}
	a.shows(ctx, seen)
	opened, err := a.clear.Open(ctx, e.caller.Org, values)
	if err != nil {
		return cannotShow(err)
	}
	for i, place := range places {
		*place = nil
		if opened[i] == nil {
			continue
		}
		if err := json.Unmarshal(opened[i], place); err != nil {
			return err
		}
	}
	return nil
}

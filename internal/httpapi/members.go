package httpapi

import (
	"context"

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
	return answerList(ctx, page, page.Items, at, shape, nil)
}

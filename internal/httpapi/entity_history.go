package httpapi

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// clockSkew is how far a time may be ahead of this process's clock and still be meant
// as now: the clocks of servers and callers differ.
const clockSkew = time.Minute

// EntityMoment has the parameters that ask for an entity as it was.
type EntityMoment struct {
	AsOf      string `query:"as_of" doc:"As it was at this time: RFC 3339, or a date for its first moment in UTC. What was recorded until then counts. Not in the future." example:"2026-11-22T09:30:00Z"`
	AtVersion int64  `query:"at_version" minimum:"1" doc:"As it was in this version. Not together with as_of." example:"1"`
}

// moment reads the parameters; nil asks for the present. Problem: invalid_as_of.
func (m EntityMoment) moment() (*readmodels.Moment, error) {
	asOf, err := parseAsOf(m.AsOf)
	switch {
	case err != nil:
		return nil, err
	case asOf != nil && m.AtVersion != 0:
		return nil, invalidAsOf("must not come with at_version: each says which state is meant")
	case asOf == nil && m.AtVersion == 0:
		return nil, nil
	}
	return &readmodels.Moment{AsOf: asOf, Version: m.AtVersion}, nil
}

// parseAsOf reads a time of the past; nil for none. Problem: invalid_as_of.
func parseAsOf(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, ok := readmodels.ParseTime(text)
	if !ok {
		return nil, invalidAsOf("must be a time of RFC 3339, as 2026-11-22T09:30:00Z (a + percent-encoded), or a date")
	}
	if at.After(time.Now().Add(clockSkew)) {
		return nil, invalidAsOf("must not be in the future, of which nothing is known; leave it out for the present")
	}
	return &at, nil
}

func invalidAsOf(message string) error {
	return problem.New(problem.Invalid, "invalid_as_of", "The time cannot be used.").
		With(problem.Field{Location: "query.as_of", Message: message})
}

// onlyPresent refuses expand for a state of the past: what is referred to would be shown
// as it is now. Problem: invalid_expand.
func (s shape) onlyPresent(past bool) error {
	if past && len(s.expanded) > 0 {
		return invalidShape("invalid_expand", "expand", "must not come with as_of or at_version: what it shows is of the present")
	}
	return nil
}

type entityHistoryInput struct {
	ID        string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Attribute string `query:"attribute" doc:"Only what changed the attribute of this name." example:"city"`
	Sort      string `query:"sort" enum:"version,-version" default:"-version" doc:"Oldest or newest first."`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor    string `query:"cursor" doc:"next_cursor of the page before; keep the other parameters as they were."`
	Count     bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields    string `query:"fields" doc:"Only these members, with commas between." example:"version,changes"`
}

func (a *API) getEntityHistory(ctx context.Context, in *entityHistoryInput) (*view[readmodels.EntityVersionPage], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf[readmodels.EntityVersion](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	by := exchangeOf(ctx).reader()
	asked := readmodels.EntityVersionQuery{
		Page: readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count}, Attribute: in.Attribute, OldestFirst: in.Sort == "version",
	}
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityVersionPage, readmodels.Snapshot, error) {
		return a.reads.EntityVersions(ctx, by, id, asked)
	})
	if err != nil {
		return nil, err
	}
	if err := a.revealReasons(ctx, id, page.Items, shape); err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

package httpapi

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// maxExamination bounds an examination: it is a report, and the write does not need it.
const maxExamination = 5 * time.Second

// Impact is what a definition does to the entities that are there: how many of them do
// not follow it. It comes from the view, at its position, and decides nothing.
type Impact struct {
	Entities int64  `json:"entities" doc:"How many entities the type has, archived ones included." example:"1200"`
	Examined int64  `json:"examined" doc:"How many of them were held against it: all but those with sealed values, and 20,000 at most." example:"1200"`
	Invalid  int64  `json:"invalid" doc:"How many of those do not follow its schema, or have relationships that it does not declare. They stay as they are, and must follow it when they are next changed or restored." example:"3"`
	Position int64  `json:"position" doc:"The position of the view that was examined." example:"4711"`
	Failure  string `json:"failure,omitempty" doc:"The code of why nothing could be examined; the numbers then say nothing." example:"views_unavailable"`
}

// impact examines the entities of a type. One at a time does so in a process.
func (a *API) impact(ctx context.Context, typeName string, definition EntityTypeDefinition) Impact {
	e := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, maxExamination)
	defer cancel()
	found, err := a.examine(ctx, e.caller.Org, typeName, definition)
	if err != nil {
		found.Failure = "views_unavailable"
		if known := problem.Of(err); known != nil {
			found.Failure = known.Code
		}
		e.log.WarnContext(ctx, "the impact of a definition is not known", "request_id", e.requestID, "error", err)
	}
	return found
}

func (a *API) examine(ctx context.Context, org, typeName string, definition EntityTypeDefinition) (found Impact, err error) {
	select {
	case a.examining <- struct{}{}:
		defer func() { <-a.examining }()
	case <-ctx.Done():
		return found, ctx.Err()
	}
	examiner, err := entity.NewExaminer(definition.Schema)
	if err != nil {
		return found, err
	}
	counted, at, err := a.views.Examine(ctx, org, typeName, definition.Relationships, examiner.Follows)
	if err != nil {
		return found, err
	}
	return Impact{Entities: counted.All, Examined: counted.Examined, Invalid: counted.Invalid, Position: at.Position}, nil
}

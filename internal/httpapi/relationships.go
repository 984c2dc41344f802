package httpapi

import (
	"context"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/readmodels"
)

// NewRelationship is the body that makes an entity refer to another.
type NewRelationship struct {
	Kind     string `json:"kind" doc:"A kind that the entity's type declares." example:"employer"`
	TargetID string `json:"target_id" doc:"Id of the entity that it refers to." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"`
}

type addRelationshipInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Body NewRelationship
}

func (a *API) addRelationship(ctx context.Context, in *addRelationshipInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	target, _ := entityID(in.Body.TargetID) // what is no id is nobody's, and refused in its turn
	return a.changeEntity(ctx, id, entities.AddRelationship{ID: id, Kind: in.Body.Kind, TargetID: target})
}

type removeRelationshipInput struct {
	ID       string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Kind     string `path:"kind" doc:"The kind of the relationship." example:"employer"`
	TargetID string `path:"target_id" doc:"Id of the entity that it refers to." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"`
}

func (a *API) removeRelationship(ctx context.Context, in *removeRelationshipInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	target, _ := entityID(in.TargetID) // as above
	return a.changeEntity(ctx, id, entities.RemoveRelationship{ID: id, Kind: in.Kind, TargetID: target})
}

type listRelationshipsInput struct {
	ID        string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Direction string `query:"direction" enum:"out,in" default:"out" doc:"out: what it refers to; in: what refers to it."`
	Depth     int    `query:"depth" minimum:"1" maximum:"5" default:"1" doc:"How many relationships away."`
	Kind      string `query:"kind" doc:"Only relationships of this kind." example:"employer"`
	Status    string `query:"status" enum:"active,archived,all" default:"active" doc:"Only those whose far end has this status; nothing is looked for behind others."`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor    string `query:"cursor" doc:"next_cursor of the page before; keep the other parameters as they were. Only with depth 1."`
	Count     bool   `query:"count" doc:"Add count, the number of all. Only with depth 1."`
	Fields    string `query:"fields" doc:"Only these members, with commas between." example:"kind,target"`
	Expand    string `query:"expand" doc:"The far end, target with direction=out and source with direction=in: the entity itself in place of its id. With target.type or source.type its type, too, in place of its name." example:"target"`
}

func (a *API) listRelationships(ctx context.Context, in *listRelationshipsInput) (*view[readmodels.RelationshipPage], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	far := map[string]string{"out": "target", "in": "source"}[in.Direction]
	shape, err := shapeOf[readmodels.Relationship](in.Fields, in.Expand, nil, []string{far, far + ".type"})
	if err != nil {
		return nil, err
	}
	by := exchangeOf(ctx).reader()
	asked := readmodels.RelationshipQuery{
		ID: id, Incoming: in.Direction == "in", Depth: in.Depth, Kind: in.Kind, Status: in.Status,
		Page: readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count}, Expand: len(shape.expanded) > 0, ExpandTypes: len(shape.deeper) > 0,
	}
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.RelationshipPage, readmodels.Snapshot, error) {
		return a.reads.Relationships(ctx, by, asked)
	})
	if err != nil {
		return nil, err
	}
	var seen sight
	seen.read(id, page.Audited)
	for _, item := range page.Items {
		seen.read(item.Source, item.SourceAudited)
		seen.read(item.Target, item.TargetAudited)
	}
	a.shows(ctx, seen)
	return answerList(ctx, page, page.Items, at, shape, func(r readmodels.Relationship) map[string]any {
		if len(shape.deeper) > 0 {
			return map[string]any{far: withType{r.Far}}
		}
		return map[string]any{far: r.Far}
	})
}

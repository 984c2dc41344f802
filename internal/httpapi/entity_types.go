package httpapi

import (
	"context"
	"encoding/json"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/readmodels"
)

const entityTypesPath = basePath + "/entity-types"

// EntityTypeDefinition is the body that defines an entity type.
type EntityTypeDefinition struct {
	Title  string          `json:"title,omitempty" doc:"What people call such entities." example:"Customer"`
	Schema json.RawMessage `json:"schema,omitempty" doc:"JSON Schema (draft 2020-12) that attributes must follow; any attributes without one."`
}

// entityTypeResource is what the commands of entity types are about.
var entityTypeResource = resource[readmodels.EntityType]{collection: entityTypesPath, kind: entity.TypeStreamKind, view: viewOfEntityType}

// viewOfEntityType shows a type as its view does.
func viewOfEntityType(r commands.Resource) (readmodels.EntityType, error) {
	state := r.State.(entity.Type)
	return readmodels.EntityType{
		Name: state.Name, Title: state.Title, Schema: state.Schema, Version: r.Version,
		CreatedAt: r.Created.At, CreatedBy: r.Created.By, UpdatedAt: r.Updated.At, UpdatedBy: r.Updated.By,
	}, nil
}

type defineEntityTypeInput struct {
	Name string `path:"name" doc:"Name of the type: a lower-case letter, then up to 62 lower-case letters, digits or underscores." example:"customer"`
	Body EntityTypeDefinition
}

func (a *API) defineEntityType(ctx context.Context, in *defineEntityTypeInput) (*receiptOutput[readmodels.EntityType], error) {
	return submit(ctx, a, entities.DefineEntityType{Name: in.Name, Title: in.Body.Title, Schema: in.Body.Schema}, entityTypeResource)
}

type entityTypeInput struct {
	Name   string `path:"name" doc:"Name of the type." example:"customer"`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"name,title"`
}

func (a *API) getEntityType(ctx context.Context, in *entityTypeInput) (*view[readmodels.EntityType], error) {
	if !entity.ValidTypeName(in.Name) {
		return nil, noSuch("entity type", "name")
	}
	shape, err := shapeOf[readmodels.EntityType](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityType, readmodels.Snapshot, error) {
		return a.reads.EntityType(ctx, org, in.Name)
	})
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, found, at, found.Version, shape, nil)
}

type listEntityTypesInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"name,title"`
}

func (a *API) listEntityTypes(ctx context.Context, in *listEntityTypesInput) (*view[readmodels.EntityTypePage], error) {
	shape, err := shapeOf[readmodels.EntityType](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityTypePage, readmodels.Snapshot, error) {
		return a.reads.EntityTypes(ctx, org, readmodels.Page{Limit: in.Limit, Cursor: in.Cursor})
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

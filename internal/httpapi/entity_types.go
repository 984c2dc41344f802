package httpapi

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const entityTypesPath = basePath + "/entity-types"

// EntityTypeDefinition is the body that defines an entity type.
type EntityTypeDefinition struct {
	Title  string          `json:"title,omitempty" doc:"What people call such entities." example:"Customer"`
	Schema json.RawMessage `json:"schema,omitempty" doc:"JSON Schema (draft 2020-12) that attributes must follow; any attributes without one."`
	Search []string        `json:"search,omitempty" maxItems:"20" doc:"Names of the attributes that q of the list of entities searches. They must be in the properties of the schema, if it has any." example:"[\"name\",\"city\"]"`
	Force  bool            `json:"force,omitempty" doc:"Let the definition refuse what the one before it allows, and no longer seal or record what that one did."`

	Relationships []readmodels.RelationshipKind `json:"relationships,omitempty" doc:"The kinds of relationships that entities of the type can have."`

	Sensitive   []string `json:"sensitive,omitempty" maxItems:"200" doc:"Names of attributes that are stored as ciphertext everywhere and shown to the role privacy only, who is recorded; others see ***. No further ones once the type has entities, and fewer only with force." example:"[\"iban\"]"`
	DataSubject bool     `json:"data_subject,omitempty" doc:"Each entity is a person: all of its attributes and its key are sealed in the log under a key of its own. Cannot change once the type has entities."`
	AuditReads  string   `json:"audit_reads,omitempty" enum:"sensitive,all" doc:"Which reads of its entities are recorded, for GET /audit/access: sensitive, those of sensitive attributes in clear; all, every read, whoever reads."`
}

// declared are the kinds as the domain knows them.
func (d EntityTypeDefinition) declared() []entity.RelationshipKind {
	var kinds []entity.RelationshipKind
	for _, k := range d.Relationships {
		kinds = append(kinds, entity.RelationshipKind(k))
	}
	return kinds
}

// entityTypeResource is what the commands of entity types are about.
var entityTypeResource = resource[readmodels.EntityType]{collection: entityTypesPath, kind: entity.TypeStreamKind, view: viewOfEntityType}

// viewOfEntityType shows a type as its view does.
func viewOfEntityType(r commands.Resource) (readmodels.EntityType, error) {
	state := r.State.(entity.Type)
	kinds := []readmodels.RelationshipKind{}
	for _, k := range state.Relationships {
		kinds = append(kinds, readmodels.RelationshipKind(k))
	}
	return readmodels.EntityType{
		Name: state.Name, Title: state.Title, Schema: state.Schema, Search: append([]string{}, state.Search...), Version: r.Version,
		CreatedAt: r.Created.At, CreatedBy: r.Created.By, UpdatedAt: r.Updated.At, UpdatedBy: r.Updated.By,
		Relationships: kinds, Sensitive: append([]string{}, state.Sensitive...), DataSubject: state.DataSubject,
		AuditReads: cmp.Or(state.AuditReads, "sensitive"),
	}, nil
}

type defineEntityTypeInput struct {
	Name string `path:"name" doc:"Name of the type: a lower-case letter, then up to 62 lower-case letters, digits or underscores." example:"customer"`
	Body EntityTypeDefinition
}

// definitionOutput is a receipt with the impact of the definition.
type definitionOutput struct {
	Status            int
	Position          int64  `header:"Hub-Position" doc:"Position of the last event; send it as Hub-Min-Position to read your own write. Of a dry run, the position that it was decided at." example:"4711"`
	ETag              string `header:"ETag" doc:"The resource's version; send it as If-Match with the next write. Not sent with a dry run." example:"\"3\""`
	Location          string `header:"Location" doc:"Where the resource is; sent with 201." example:"/api/v1/entity-types/customer"`
	PreferenceApplied string `header:"Preference-Applied" doc:"Sent when resource is there because Prefer asked for it." example:"return=representation"`
	Replayed          string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Body              DefinitionReceipt
}

// DefinitionReceipt is the answer to a definition.
type DefinitionReceipt struct {
	Receipt[readmodels.EntityType]
	Impact *Impact `json:"impact,omitempty" doc:"What the definition does to the entities that are there; with force, and in a dry run."`
}

// defineEntityType tells the impact where it matters: of a definition that was forced,
// of one that would have to be, and in a dry run.
func (a *API) defineEntityType(ctx context.Context, in *defineEntityTypeInput) (*definitionOutput, error) {
	done, err := submit(ctx, a, entities.DefineEntityType{
		Name: in.Name, Title: in.Body.Title, Schema: in.Body.Schema, Search: in.Body.Search, Relationships: in.Body.declared(), Force: in.Body.Force,
		Sensitive: in.Body.Sensitive, DataSubject: in.Body.DataSubject, AuditReads: in.Body.AuditReads,
	}, entityTypeResource)
	if refusal := problem.Of(err); refusal != nil && refusal.Code == "narrowing_change" {
		told := *refusal
		told.Extra = map[string]any{"impact": a.impact(ctx, in.Name, in.Body)}
		return nil, &told
	}
	if err != nil {
		return nil, err
	}
	out := &definitionOutput{
		Status: done.Status, Position: done.Position, ETag: done.ETag, Location: done.Location,
		PreferenceApplied: done.PreferenceApplied, Replayed: done.Replayed, Body: DefinitionReceipt{Receipt: done.Body},
	}
	if in.Body.Force || done.Body.DryRun {
		impact := a.impact(ctx, in.Name, in.Body)
		out.Body.Impact = &impact
	}
	return out, nil
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
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	Count  bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"name,title"`
}

func (a *API) listEntityTypes(ctx context.Context, in *listEntityTypesInput) (*view[readmodels.EntityTypePage], error) {
	shape, err := shapeOf[readmodels.EntityType](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityTypePage, readmodels.Snapshot, error) {
		return a.reads.EntityTypes(ctx, org, readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count})
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

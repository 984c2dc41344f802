package httpapi

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const entitiesPath = basePath + "/entities"

// NewEntity is the body that creates an entity.
type NewEntity struct {
	Type       string                     `json:"type" doc:"Name of an entity type." example:"customer"`
	Key        string                     `json:"key,omitempty" minLength:"1" doc:"Your own identifier, unique within the type, for ever." example:"C-17"`
	Attributes map[string]json.RawMessage `json:"attributes" doc:"Values by name; they must follow the type's schema." example:"{\"name\":\"Ana\",\"city\":\"Paris\"}"`
	Tags       []string                   `json:"tags,omitempty" doc:"Labels for finding." example:"[\"vip\"]"`
}

// entityResource is what the commands of entities are about.
var entityResource = resource[readmodels.Entity]{collection: entitiesPath, kind: entity.StreamKind, view: viewOfEntity}

// viewOfEntity shows an entity as its view does.
func viewOfEntity(r commands.Resource) (readmodels.Entity, error) {
	state := r.State.(entity.Entity)
	view := readmodels.Entity{
		Type: state.Type, Status: "active", Tags: state.Tags, Version: r.Version, TypeVersion: state.TypeVersion,
		CreatedAt: r.Created.At, CreatedBy: r.Created.By, UpdatedAt: r.Updated.At, UpdatedBy: r.Updated.By,
	}
	if state.Key != "" {
		view.Key = &state.Key
	}
	if state.Archived {
		view.Status = "archived"
	}
	var err error
	if view.ID, err = uuid.Parse(r.ID); err != nil {
		return view, err
	}
	view.Attributes, err = json.Marshal(state.Attributes)
	return view, err
}

// changeEntity submits a command on an entity that is there. Whoever is answered with the
// entity reads it: where every read is recorded and this one cannot be, the answer says only
// what was done.
func (a *API) changeEntity(ctx context.Context, id uuid.UUID, change domain.Decider) (*receiptOutput[readmodels.Entity], error) {
	if !exchangeOf(ctx).wantsRepresentation() {
		return submit(ctx, a, change, entityResource)
	}
	watched := &entities.Watched{Decider: change, ID: id}
	out, err := submit(ctx, a, watched, entityResource)
	if err != nil || out.Body.Resource == nil {
		return out, err
	}
	var seen sight
	if seen.read(id, a.audits(ctx, watched, out.Body.Resource.Type)); len(seen.audited) == 0 {
		return out, nil
	}
	if a.clear == nil || a.record(ctx, seen) != nil {
		out.Body.Resource, out.PreferenceApplied = nil, ""
	}
	return out, nil
}

// audits reports whether every read of an entity of the type is recorded. Of an answer that is
// given again the view knows; without one it counts as recorded.
func (a *API) audits(ctx context.Context, watched *entities.Watched, typeName string) bool {
	if audited, known := watched.Audited(); known {
		return audited
	}
	if a.reads == nil {
		return true
	}
	found, _, err := a.reads.EntityType(ctx, exchangeOf(ctx).caller.Org, typeName)
	return err != nil || found.AuditReads == readmodels.AuditAll
}

type createEntityInput struct{ Body NewEntity }

func (a *API) createEntity(ctx context.Context, in *createEntityInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, entities.CreateEntity{
		ID: id, Type: in.Body.Type, Key: in.Body.Key, Attributes: in.Body.Attributes, Tags: in.Body.Tags,
	}, entityResource)
}

type entityInput struct {
	ID string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
}

// EntityPatch is the body that changes an entity.
type EntityPatch struct {
	Attributes map[string]json.RawMessage `json:"attributes,omitempty" nullable:"true" doc:"New values by name; null removes one, and null instead of the object all." example:"{\"city\":\"Lyon\",\"nickname\":null}"`
	Tags       []string                   `json:"tags,omitempty" nullable:"true" doc:"The new labels, all of them; null removes them." example:"[\"vip\",\"eu\"]"`
}

type patchEntityInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Body EntityPatch
}

// patchEntity hands the body on as it came: in a merge patch null and absence
// differ, which a Go struct cannot say.
func (a *API) patchEntity(ctx context.Context, in *patchEntityInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	return a.changeEntity(ctx, id, entities.PatchEntity{ID: id, Patch: exchangeOf(ctx).document})
}

func (a *API) archiveEntity(ctx context.Context, in *entityInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	return a.changeEntity(ctx, id, entities.ArchiveEntity{ID: id})
}

type restoreEntityInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Body *EntityPatch
}

func (a *API) restoreEntity(ctx context.Context, in *restoreEntityInput) (*receiptOutput[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	return a.changeEntity(ctx, id, entities.RestoreEntity{ID: id, Patch: exchangeOf(ctx).document})
}

type getEntityInput struct {
	ID string `path:"id" doc:"The entity's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	EntityMoment
	EntityShape
}

// EntityShape has the parameters that say how entities are shown.
type EntityShape struct {
	Fields string `query:"fields" doc:"Only these members, with commas between; attributes.<name> for single attributes, written as in filters." example:"id,key,attributes.city"`
	Expand string `query:"expand" doc:"type: the type itself in place of its name." example:"type"`
}

func (s EntityShape) shape() (shape, error) {
	return shapeOf[readmodels.Entity](s.Fields, s.Expand, []string{"attributes"}, []string{"type"})
}

// references are what an entity can be expanded by.
func references(e readmodels.Entity) map[string]any { return map[string]any{"type": e.Definition} }

// withType is an entity that is written with its type in place of the type's name.
type withType struct{ entity *readmodels.Entity }

// MarshalJSON writes it. Part of json.Marshaler.
func (w withType) MarshalJSON() ([]byte, error) {
	as, err := EntityShape{Expand: "type"}.shape()
	if err != nil {
		return nil, err
	}
	return as.write(w.entity, references(*w.entity))
}

func (a *API) getEntity(ctx context.Context, in *getEntityInput) (*view[readmodels.Entity], error) {
	id, err := entityID(in.ID)
	if err != nil {
		return nil, err
	}
	shape, err := in.shape()
	if err != nil {
		return nil, err
	}
	when, err := in.moment()
	if err != nil {
		return nil, err
	}
	if err := shape.onlyPresent(when != nil); err != nil {
		return nil, err
	}
	by := exchangeOf(ctx).reader()
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Entity, readmodels.Snapshot, error) {
		if when != nil {
			return a.reads.EntityAt(ctx, by, id, *when)
		}
		if exchangeOf(ctx).seesClear() {
			return a.reads.ClearEntity(ctx, by, id, len(shape.expanded) > 0)
		}
		return a.reads.Entity(ctx, by, id, len(shape.expanded) > 0)
	})
	if err != nil {
		return nil, err
	}
	shown := []readmodels.Entity{found}
	if err := a.reveal(ctx, shown, shape); err != nil {
		return nil, err
	}
	if shape.whole() && len(found.Sealed) > 0 {
		return answer[readmodels.Entity](ctx, at, clearTag(found.Version), func() ([]byte, error) { return encodeJSON(shown[0]) })
	}
	return answerOne(ctx, shown[0], at, found.Version, shape, references)
}

type listEntitiesInput struct {
	Type   string `query:"type" doc:"Only entities of this type." example:"customer"`
	Key    string `query:"key" doc:"Only the entity with this key; usually with type."`
	Tag    string `query:"tag" doc:"Only entities with this label."`
	Q      string `query:"q" maxLength:"200" doc:"Only entities with these words in the attributes that their types name in search: in any order, by the beginnings of words, and where none has them, similar ones. Case and accents do not matter. The best come first unless sort says otherwise." example:"muller par"`
	Status string `query:"status" enum:"active,archived,all" default:"active" doc:"Only entities of this status."`
	Sort   string `query:"sort" enum:"created_at,-created_at,updated_at,-updated_at,key,-key" default:"-created_at" doc:"Order; - for descending."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before; keep the other parameters as they were."`
	Offset int    `query:"offset" minimum:"0" maximum:"10000" doc:"Skip so many, in a short list; not together with cursor."`
	Count  bool   `query:"count" doc:"Add count, the number of all matches."`
	AsOf   string `query:"as_of" doc:"The list as it was at this time: RFC 3339, or a date for its first moment in UTC. What was recorded until then counts. Not in the future." example:"2026-11-22T09:30:00Z"`
	ID     string `query:"id" doc:"Only these entities: at most 500 ids with commas between." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	EntityShape
}

func (a *API) listEntities(ctx context.Context, in *listEntitiesInput) (*view[readmodels.EntityPage], error) {
	e := exchangeOf(ctx)
	shape, err := in.shape()
	if err != nil {
		return nil, err
	}
	ids, err := idList(in.ID)
	if err != nil {
		return nil, err
	}
	asOf, err := parseAsOf(in.AsOf)
	if err != nil {
		return nil, err
	}
	if err := shape.onlyPresent(asOf != nil); err != nil {
		return nil, err
	}
	asked := readmodels.EntityQuery{
		AsOf: asOf, Type: in.Type, Key: in.Key, Tag: in.Tag, Status: in.Status, IDs: ids, Filters: e.filters(),
		Search: in.Q, Sort: in.Sort, Limit: in.Limit, Cursor: in.Cursor, Offset: in.Offset, Count: in.Count, ExpandTypes: len(shape.expanded) > 0,
	}
	if in.Q != "" && e.query.Get("sort") == "" {
		asked.Sort = "" // by rank
	}
	if len(ids) > 0 && !e.query.Has("limit") {
		asked.Limit = len(ids) // whoever names them wants them all
	}
	if e.seesClear() {
		if asked.Clear, err = a.clear.Hasher(ctx, e.caller.Org); err != nil {
			return nil, cannotShow(err)
		}
	}
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntityPage, readmodels.Snapshot, error) {
		return a.reads.Entities(ctx, e.reader(), asked)
	})
	if err != nil {
		return nil, err
	}
	if err := a.reveal(ctx, page.Items, shape); err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, references)
}

// entityID reads an id in a path. What is no id names nothing.
func entityID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return uuid.Nil, noSuch("entity", "id")
	}
	return id, nil
}

func noSuch(what, by string) error {
	return problem.New(problem.NotFound, "not_found", "There is no %s with this %s.", what, by)
}

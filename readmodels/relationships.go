package readmodels

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// MaxRelationshipDepth is the contract's.
const MaxRelationshipDepth = 5

// Relationship is one entity that refers to another.
type Relationship struct {
	Kind      string    `json:"kind" doc:"The kind, as the type of the source declares it." example:"employer"`
	SourceID  uuid.UUID `json:"source_id" doc:"Id of the entity that refers." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	TargetID  uuid.UUID `json:"target_id" doc:"Id of the entity that it refers to." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"`
	Source    uuid.UUID `json:"source" doc:"The same as source_id; with expand the entity." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Target    uuid.UUID `json:"target" doc:"The same as target_id; with expand the entity." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"`
	Depth     int       `json:"depth" doc:"How many relationships away its far end is, by the shortest way to its near end." example:"1"`
	CreatedAt time.Time `json:"created_at" doc:"When it was added."`
	CreatedBy string    `json:"created_by" doc:"Who added it." example:"ana"`

	// Far is the entity at the far end, when asked for.
	Far *Entity `json:"-"`
	// SourceAudited and TargetAudited say that every read of that end is recorded.
	SourceAudited, TargetAudited bool `json:"-"`
}

// RelationshipQuery selects the relationships around an entity.
type RelationshipQuery struct {
	ID uuid.UUID
	// Incoming looks at those that lead to the entity, from their targets to their sources.
	Incoming bool
	// Depth is 1 to MaxRelationshipDepth; beyond 1 there are no pages and no Count.
	Depth int
	// Kind selects one; "" all.
	Kind string
	// Status is that of far ends, as of EntityQuery; "active" when empty. What others
	// refer to behind one that is left out is left out with it.
	Status string
	Page
	// Expand fills in Relationship.Far, and ExpandTypes with it its Definition.
	Expand, ExpandTypes bool
}

// RelationshipPage is a page of relationships.
type RelationshipPage struct {
	Items      []Relationship `json:"items" doc:"The nearest first; of one depth by kind."`
	NextCursor *string        `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one, and with a depth over 1."`
	Truncated  bool           `json:"truncated" doc:"true when there are more than are shown and no cursor leads to them: with a depth over 1."`
	Count      *int64         `json:"count,omitempty" doc:"How many there are in all, when asked for."`
	// Audited says that every read of the entity that was asked about is recorded.
	Audited bool `json:"-"`
}

// relationshipPlan is a query that has been checked.
type relationshipPlan struct {
	by    Reader
	query RelationshipQuery
	limit int
	after *cursor
	scope cursorScope
	// near and far are the columns of the two ends, seen from the entity.
	near, far string
}

// Relationships walks from an entity that the reader may see, each other entity once, so that circles end.
// Problems: NotFound not_found; invalid_depth, invalid_filter, invalid_limit (Invalid),
// invalid_cursor (Malformed), epoch_changed (Conflict).
func (s *Store) Relationships(ctx context.Context, by Reader, q RelationshipQuery) (RelationshipPage, Snapshot, error) {
	plan, err := s.relationshipPlan(by, q)
	if err != nil {
		return RelationshipPage{}, Snapshot{}, err
	}
	var (
		page RelationshipPage
		// start is whether reads of the entity are recorded, null where it is not there.
		start pgtype.Bool
		cut   bool
	)
	at, err := s.read(ctx, by.Org, entitiesView, func(schema string) statement {
		page, start = RelationshipPage{Items: []Relationship{}}, pgtype.Bool{}
		sql, args := plan.sql(schema)
		row := newRelationshipRow([]any{&start, &page.Count}, q)
		return statement{sql: sql, args: args, cut: &cut, row: func(scan func(...any) error) error {
			found, err := row.scan(scan)
			if found != nil {
				page.Items = append(page.Items, *found)
			}
			return err
		}}
	})
	page.Audited = start.Bool
	switch {
	case err == nil && plan.after != nil && plan.after.sameLog(at) != nil:
		err = plan.after.sameLog(at)
	case err == nil && !start.Valid:
		err = problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
	}
	if page.Items, cut = paged(page.Items, plan.limit, cut); err != nil || !cut {
		return page, at, err
	}
	if page.Truncated = q.Depth > 1; page.Truncated {
		return page, at, nil
	}
	last := page.Items[len(page.Items)-1]
	next, err := s.seal(cursor{Epoch: at.Epoch, Value: &last.Kind, ID: plan.farOf(last)}, plan.scope)
	page.NextCursor = &next
	return page, at, err
}

func (p *relationshipPlan) farOf(r Relationship) uuid.UUID {
	if p.query.Incoming {
		return r.Source
	}
	return r.Target
}

func (s *Store) relationshipPlan(by Reader, q RelationshipQuery) (*relationshipPlan, error) {
	if q.Status == "" {
		q.Status = "active"
	}
	p := &relationshipPlan{by: by, query: q, near: "source", far: "target"}
	if q.Incoming {
		p.near, p.far = p.far, p.near
	}
	if q.Depth < 1 || q.Depth > MaxRelationshipDepth {
		return nil, invalidDepth("must be from 1 to " + strconv.Itoa(MaxRelationshipDepth))
	}
	if q.Depth > 1 && q.Cursor != "" {
		return nil, invalidDepth("must be 1 with a cursor: what is further away has no pages")
	}
	if q.Depth > 1 && q.Count {
		return nil, invalidDepth("must be 1 with count: what is further away is looked for no further than limit")
	}
	if err := checkStatus(q.Status); err != nil {
		return nil, err
	}
	if !storable(q.Kind) {
		return nil, invalidFilter("kind", "must be UTF-8 without NUL characters")
	}
	var err error
	if p.limit, err = q.limit(); err != nil {
		return nil, err
	}
	p.scope = cursorScope{org: by.Org, route: "relationships", sort: p.near, filters: []string{q.ID.String(), q.Kind, q.Status}}
	if q.Cursor == "" {
		return p, nil
	}
	after, err := s.open(q.Cursor, p.scope)
	if err == nil && after.Value == nil {
		err = invalidCursor()
	}
	p.after = &after
	return p, err
}

func invalidDepth(message string) error {
	return problem.New(problem.Invalid, "invalid_depth", "The depth cannot be used.").
		With(problem.Field{Location: "query.depth", Message: message})
}

// sql is one statement: a step for each depth, from the entities that the one before has
// met first, and no more of each than a page and one.
func (p *relationshipPlan) sql(schema string) (string, []any) {
	args := arguments{entitiesView}
	org, start, limit := args.add(p.by.Org), args.add(p.query.ID), args.add(p.limit+1)
	with, all := "WITH met0 AS (SELECT "+start+"::uuid AS id)", ""
	for depth := 1; depth <= p.query.Depth; depth++ {
		step, met := fmt.Sprint("step", depth), fmt.Sprint("met", depth-1)
		with += `, ` + step + ` AS (` + p.step(schema, met, org, limit, &args) + `)`
		with += fmt.Sprintf(`, met%d AS (SELECT DISTINCT r.%s AS id FROM %s r`, depth, p.far, step)
		for before := range depth {
			with += fmt.Sprintf(` EXCEPT SELECT id FROM met%d`, before)
		}
		with += `)`
		if depth > 1 {
			all += ` UNION ALL `
		}
		all += fmt.Sprintf(`SELECT r.*, %d AS depth FROM %s r`, depth, step)
	}
	far, columns := "", ""
	if p.query.Expand {
		columns = ", " + entityColumns + audited(schema, org, "e.type")
		far = ` LEFT JOIN ` + schema + `.entities e ON e.org = ` + org + ` AND e.id = r.` + p.far
	}
	if p.query.ExpandTypes {
		columns += ", " + entityTypeColumns
		far += ` LEFT JOIN ` + schema + `.entity_types t ON t.org = ` + org + ` AND t.name = e.type`
	}
	count := "NULL::bigint"
	if p.query.Count {
		count = `(SELECT count(*) FROM met0 m JOIN ` + p.from(schema) + ` ON ` + p.where(schema, org, &args) + `)`
	}
	return with + ` SELECT ` + heads + `, (SELECT ` + auditedType(schema, org, "x.type") + ` FROM ` + schema + `.entities x WHERE x.org = ` + org + ` AND x.id = ` + start + ` AND ` + p.by.sees(schema, "x.org", "x.id", &args) + `), ` + count + `,
			r.kind, r.source, r.target, r.depth, r.created_at, r.created_by` + audited(schema, org, "r.source_type") + audited(schema, org, "r.target_type") + columns + `
		FROM ` + pointed + ` LEFT JOIN (SELECT * FROM (` + all + `) r ORDER BY ` + p.orderBy() + ` LIMIT ` + limit + `) r ON true` + far + `
		ORDER BY ` + p.orderBy(), args
}

func (p *relationshipPlan) orderBy() string {
	return "r.depth, r.kind, r." + p.near + ", r." + p.far
}

// from are relationships with their far ends, and where those of an entity met that may
// be seen. Who may see a relationship may see its far end: that is asked here and nowhere
// else.
func (p *relationshipPlan) from(schema string) string {
	return schema + `.relationships r JOIN ` + schema + `.entities e ON e.org = r.org AND e.id = r.` + p.far
}

func (p *relationshipPlan) where(schema, org string, args *arguments) string {
	where := "r.org = " + org + " AND r." + p.near + " = m.id AND " + p.by.sees(schema, "e.org", "e.id", args)
	if p.query.Kind != "" {
		where += " AND r.kind = " + args.add(p.query.Kind)
	}
	if p.query.Status != "all" {
		where += " AND e.status = " + args.add(p.query.Status)
	}
	return where
}

// step selects the relationships of the entities met, each looked up by an index in its
// order.
func (p *relationshipPlan) step(schema, met, org, limit string, args *arguments) string {
	where := p.where(schema, org, args)
	if p.after != nil {
		where += " AND (r.kind, r." + p.far + ") > (" + args.add(*p.after.Value) + "::text, " + args.add(p.after.ID) + "::uuid)"
	}
	return `SELECT r.* FROM ` + met + ` m CROSS JOIN LATERAL (
			SELECT r.kind, r.source, r.target, r.created_at, r.created_by, r.source_type, r.target_type
			  FROM ` + p.from(schema) + `
			 WHERE ` + where + ` ORDER BY r.kind, r.` + p.far + ` LIMIT ` + limit + `
		) r ORDER BY r.kind, r.` + p.near + `, r.` + p.far + ` LIMIT ` + limit
}

// relationshipRow is what the rows of a statement are scanned into, one after the other.
type relationshipRow struct {
	kind, createdBy repeatedText
	source, target  pgtype.UUID
	depth           pgtype.Int8
	createdAt       pgtype.Timestamptz
	// of the two ends
	sourceAudited, targetAudited pgtype.Bool
	far                          *entityRow

	destinations []any
}

// newRelationshipRow makes a row with columns before it and, if wanted, those of the far
// end after it.
func newRelationshipRow(before []any, q RelationshipQuery) *relationshipRow {
	r := &relationshipRow{}
	r.destinations = append(slices.Clone(before), &r.kind, &r.source, &r.target, &r.depth, &r.createdAt, &r.createdBy, &r.sourceAudited, &r.targetAudited)
	if q.Expand {
		r.far = newEntityRow(r.destinations, q.ExpandTypes)
	}
	return r
}

// scan reads a row, nil for the row of nulls that a statement has when it finds nothing.
func (r *relationshipRow) scan(scan func(...any) error) (*Relationship, error) {
	var (
		far   Entity
		found bool
		err   error
	)
	if r.far != nil {
		found, err = r.far.scan(scan, &far)
	} else {
		err = scan(r.destinations...)
	}
	if err != nil || !r.source.Valid {
		return nil, err
	}
	one := &Relationship{
		Kind: r.kind.text, SourceID: r.source.Bytes, TargetID: r.target.Bytes, Source: r.source.Bytes, Target: r.target.Bytes, Depth: int(r.depth.Int64),
		CreatedAt: r.createdAt.Time.UTC(), CreatedBy: r.createdBy.text, SourceAudited: r.sourceAudited.Bool, TargetAudited: r.targetAudited.Bool,
	}
	if found {
		one.Far = &far
	}
	return one, nil
}

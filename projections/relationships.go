package projections

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
)

// relationshipsDDL is the table of relationships, in the view of entities: what is asked
// of them together is of one position. A row is written by the stream of its source alone.
func relationshipsDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.relationships (
			org         text COLLATE "C" NOT NULL,
			source      uuid             NOT NULL,
			kind        text COLLATE "C" NOT NULL,
			target      uuid             NOT NULL,
			source_type text COLLATE "C" NOT NULL,
			target_type text COLLATE "C" NOT NULL,
			created_at  timestamptz      NOT NULL,
			created_by  text             NOT NULL,
			position    bigint           NOT NULL,
			PRIMARY KEY (org, source, kind, target)
		);`
}

// relationshipsIndexes: the primary key is for the way out, this for the way in.
func relationshipsIndexes(schema string) string {
	return `
		CREATE INDEX relationships_incoming ON ` + schema + `.relationships (org, target, kind, source);`
}

type relationshipID struct {
	org    string
	source uuid.UUID
	kind   string
	target uuid.UUID
}

// relationshipChange is the last word of a batch on a relationship.
type relationshipChange struct {
	relationshipID
	removed                bool
	sourceType, targetType string
	createdAt              time.Time
	createdBy              string
	position               int64
}

// relate notes what an event says of a relationship.
func (f *entityFold) relate(e Event, source uuid.UUID) {
	var last relationshipChange
	switch p := e.Payload.(type) {
	case entity.RelationshipAdded:
		last.kind, last.target, last.sourceType, last.targetType = p.Kind, p.TargetID, p.SourceType, p.TargetType
	case entity.RelationshipRemoved:
		last.kind, last.target, last.removed = p.Kind, p.TargetID, true
	}
	last.org, last.source = e.Org, source
	last.createdAt, last.createdBy, last.position = e.RecordedAt, e.Actor.Sub, e.Position
	c, found := f.relationshipFor[last.relationshipID]
	if !found {
		c = &relationshipChange{}
		f.relationshipFor[last.relationshipID] = c
		f.relationships = append(f.relationships, c)
	}
	*c = last
}

// relationshipRows are changes by column.
type relationshipRows struct {
	org, kind, sourceType, targetType, createdBy []string
	source, target                               [][16]byte
	createdAt                                    []time.Time
	position                                     []int64
}

func (r *relationshipRows) add(c *relationshipChange) {
	r.org, r.source, r.kind, r.target = append(r.org, c.org), append(r.source, c.source), append(r.kind, c.kind), append(r.target, c.target)
	r.sourceType, r.targetType = append(r.sourceType, c.sourceType), append(r.targetType, c.targetType)
	r.createdAt, r.createdBy, r.position = append(r.createdAt, c.createdAt), append(r.createdBy, c.createdBy), append(r.position, c.position)
}

// applyRelationships queues at most one statement for those that are there and one for
// those that are gone.
func applyRelationships(batch *pgx.Batch, schema string, changes []*relationshipChange) {
	var there, gone relationshipRows
	for _, c := range changes {
		if c.removed {
			gone.add(c)
		} else {
			there.add(c)
		}
	}
	if len(there.org) > 0 {
		batch.Queue(`
			INSERT INTO `+schema+`.relationships (org, source, kind, target, source_type, target_type, created_at, created_by, position)
			SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::bigint[])
			ON CONFLICT (org, source, kind, target) DO UPDATE
			   SET created_at = excluded.created_at, created_by = excluded.created_by, position = excluded.position`,
			there.org, there.source, there.kind, there.target, there.sourceType, there.targetType, there.createdAt, there.createdBy, there.position)
	}
	if len(gone.org) > 0 {
		batch.Queue(`
			DELETE FROM `+schema+`.relationships r USING unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[]) AS g (org, source, kind, target)
			 WHERE r.org = g.org AND r.source = g.source AND r.kind = g.kind AND r.target = g.target`,
			gone.org, gone.source, gone.kind, gone.target)
	}
}

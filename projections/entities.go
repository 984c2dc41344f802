package projections

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
)

// Entities is the view of entities, their types and their relationships as they are now.
func Entities() Projection {
	return Projection{
		Name: "entities", Version: 1,
		Types: []string{
			entity.TypeDefined{}.EventType(), entity.Created{}.EventType(), entity.Updated{}.EventType(),
			entity.Archived{}.EventType(), entity.Restored{}.EventType(), entity.AccessChanged{}.EventType(),
			entity.RelationshipAdded{}.EventType(), entity.RelationshipRemoved{}.EventType(),
		},
		Tables: []string{"entities", "entity_types", "relationships", accessTable, "entity_search", "search_backlog"},
		DDL: func(schema string) string {
			return entitiesDDL(schema) + entityTermsDDL(schema) + entitySearchDDL(schema)
		},
		Indexes: func(schema string) string {
			return entitiesIndexes(schema) + entityTermsIndexes(schema) + entitySearchIndexes(schema)
		},
		Apply:   applyEntities,
		Settle:  settleEntitySearch,
		Backlog: "search_backlog",
	}
}

// entitiesDDL: what lists sort by compares byte for byte (collation C), so that
// cursors mean the same on every server.
func entitiesDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.entities (
			org        text COLLATE "C" NOT NULL,
			id         uuid             NOT NULL,
			type       text COLLATE "C" NOT NULL,
			key        text COLLATE "C",
			status     text             NOT NULL,
			attributes jsonb            NOT NULL,
			tags       text[]           NOT NULL,
			version    bigint           NOT NULL,
			created_at timestamptz      NOT NULL,
			created_by text             NOT NULL,
			updated_at timestamptz      NOT NULL,
			updated_by text             NOT NULL,
			position   bigint           NOT NULL,
			event_id   uuid             NOT NULL,
			type_version bigint         NOT NULL, -- the one that the attributes were last held against
			sealed     jsonb            NOT NULL DEFAULT '{}', -- the sensitive attributes, of which attributes has masks: entity.SealedRow
			terms      integer[]        NOT NULL DEFAULT '{}', -- by which filters find it: entity_terms.go
			signature  bigint           NOT NULL DEFAULT -1, -- by which walks pass over it
			PRIMARY KEY (org, id)
		) WITH (autovacuum_vacuum_insert_scale_factor = 0.05); -- walks read rows that it has not been at
		CREATE TABLE ` + schema + `.entity_types (
			org        text COLLATE "C" NOT NULL,
			name       text COLLATE "C" NOT NULL,
			title      text             NOT NULL,
			schema     json             NOT NULL, -- json, not jsonb, keeps the text as it was written
			search     text[]           NOT NULL,
			version    bigint           NOT NULL,
			created_at timestamptz      NOT NULL,
			created_by text             NOT NULL,
			updated_at timestamptz      NOT NULL,
			updated_by text             NOT NULL,
			relationships json          NOT NULL, -- the kinds, as declared
			sensitive  text[]           NOT NULL DEFAULT '{}',
			data_subject boolean        NOT NULL DEFAULT false,
			audit_reads text            NOT NULL, -- all, or empty where only clear reads of sensitive attributes are recorded
			PRIMARY KEY (org, name)
		);` + relationshipsDDL(schema) + entityAccessDDL(schema)
}

// entitiesIndexes are an index for each order of the lists, with what tells most of what a
// filter leaves out: see entity_terms.go. Where one type has nearly all, its lists are walked
// by those of all types, too.
func entitiesIndexes(schema string) string {
	return `
		CREATE INDEX entity_types_audited     ON ` + schema + `.entity_types (org, name) WHERE audit_reads = 'all';
		CREATE INDEX entities_key             ON ` + schema + `.entities (org, type, key, id) INCLUDE (signature);
		CREATE INDEX entities_created_at      ON ` + schema + `.entities (org, created_at, id) INCLUDE (type, signature);
		CREATE INDEX entities_type_created_at ON ` + schema + `.entities (org, type, created_at, id) INCLUDE (signature);
		CREATE INDEX entities_updated_at      ON ` + schema + `.entities (org, updated_at, id) INCLUDE (type, signature);
		CREATE INDEX entities_type_updated_at ON ` + schema + `.entities (org, type, updated_at, id) INCLUDE (signature);` + relationshipsIndexes(schema)
}

// applyEntities folds the events of a batch to one change a row, and queues at most
// one statement for all new entities, one for all others, two for all types, one for what
// is searched and two for who may see what. Types come first: new entities are searched as
// these say.
func applyEntities(batch *pgx.Batch, schema string, events []Event) error {
	fold := newEntityFold()
	for _, e := range events {
		if err := fold.add(e); err != nil {
			return fmt.Errorf("folding position %d: %w", e.Position, err)
		}
	}
	var created, changed entityRows
	for _, c := range fold.entities {
		rows := &changed
		if c.created {
			rows = &created
		}
		if err := rows.add(c); err != nil {
			return err
		}
	}
	if len(fold.types) > 0 {
		batch.Queue(noteSearchChanges(schema), searchArrays(fold.types)...)
		types, err := typeArrays(fold.types)
		if err != nil {
			return err
		}
		batch.Queue(upsertTypes(schema), types...)
	}
	if len(created.id) > 0 {
		batch.Queue(insertEntities(schema), created.forInsert()...)
	}
	if len(changed.id) > 0 {
		batch.Queue(updateEntities(schema), changed.forUpdate()...)
	}
	if orgs, ids := fold.searched(); len(ids) > 0 {
		batch.Queue(indexEntities(schema), orgs, ids)
	}
	applyRelationships(batch, schema, fold.relationships)
	return fold.access.queue(batch, schema)
}

func insertEntities(schema string) string {
	return `
		INSERT INTO ` + schema + `.entities (org, id, type, type_version, key, status, attributes, tags, version,
		                                     created_at, created_by, updated_at, updated_by, position, event_id, sealed, terms, signature)
		SELECT u.org, u.id, u.type, u.type_version, u.key, u.status, j.attributes, j.tags, u.version,
		       u.created_at, u.created_by, u.updated_at, u.updated_by, u.position, u.event_id, j.sealed,
		       t.terms, ` + signature(schema, "t.terms") + `
		  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
		              $9::timestamptz[], $10::text[], $11::timestamptz[], $12::text[], $13::bigint[], $14::uuid[], $15::bigint[], $16::text[])
		       AS u(org, id, type, key, status, attributes, tags, version,
		            created_at, created_by, updated_at, updated_by, position, event_id, type_version, sealed)
		 CROSS JOIN LATERAL (SELECT u.attributes::jsonb AS attributes, u.tags::text[] AS tags, u.sealed::jsonb AS sealed OFFSET 0) j
		 CROSS JOIN LATERAL (SELECT ` + terms(schema, "u.org", "u.type", "j.attributes", "j.tags", "j.sealed") + ` AS terms OFFSET 0) t`
}

// updateEntities leaves alone what is null in the arrays, and a type_version that is 0.
func updateEntities(schema string) string {
	const (
		attributes = `CASE WHEN u.attributes IS NULL THEN e.attributes ELSE (e.attributes || u.attributes::jsonb) - u.removed::text[] END`
		sealed     = `CASE WHEN u.attributes IS NULL THEN e.sealed ELSE (e.sealed - u.touched::text[]) || u.sealed::jsonb END`
		tags       = `coalesce(u.tags::text[], e.tags)`
	)
	return `
		UPDATE ` + schema + `.entities e
		   SET status     = coalesce(u.status, e.status),
		       attributes = ` + attributes + `,
		       sealed     = ` + sealed + `,
		       tags       = ` + tags + `,
		       (terms, signature) = (SELECT t.terms, ` + signature(schema, "t.terms") + `
		                               FROM (SELECT CASE WHEN u.attributes IS NULL AND u.tags IS NULL THEN e.terms
		                                                 ELSE ` + terms(schema, "e.org", "e.type", attributes, tags, sealed) + ` END AS terms OFFSET 0) t),
		       version    = u.version,
		       updated_at = u.updated_at,
		       updated_by = u.updated_by,
		       position   = u.position,
		       event_id   = u.event_id,
		       type_version = coalesce(nullif(u.type_version, 0), e.type_version)
		  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
		              $8::timestamptz[], $9::text[], $10::bigint[], $11::uuid[], $12::bigint[], $13::text[], $14::text[])
		       AS u(org, id, status, attributes, removed, tags, version, updated_at, updated_by, position, event_id, type_version, sealed, touched)
		 WHERE e.org = u.org AND e.id = u.id`
}

// upsertTypes: one event both makes a type and changes it, so the table decides.
func upsertTypes(schema string) string {
	return `
		INSERT INTO ` + schema + `.entity_types AS t (org, name, title, schema, version, created_at, created_by, updated_at, updated_by, relationships, search, sensitive, data_subject, audit_reads)
		SELECT u.org, u.name, u.title, u.schema::json, u.version, u.created_at, u.created_by, u.updated_at, u.updated_by, u.relationships::json, u.search::text[],
		       u.sensitive::text[], u.data_subject, u.audit_reads
		  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[],
		              $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::boolean[], $14::text[])
		       AS u(org, name, title, schema, version, created_at, created_by, updated_at, updated_by, relationships, search, sensitive, data_subject, audit_reads)
		ON CONFLICT (org, name) DO UPDATE
		   SET title = excluded.title, schema = excluded.schema, version = excluded.version,
		       updated_at = excluded.updated_at, updated_by = excluded.updated_by, relationships = excluded.relationships,
		       search = excluded.search, sensitive = excluded.sensitive, data_subject = excluded.data_subject,
		       audit_reads = excluded.audit_reads`
}

// encodeAttributes gives the text of a jsonb object. The values are JSON already, and
// json.Marshal would read all of them again.
func encodeAttributes(attributes map[string]json.RawMessage) (string, error) {
	size := 2
	for name, value := range attributes {
		size += len(name) + len(value) + 4
	}
	var text strings.Builder
	text.Grow(size)
	text.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		if i > 0 {
			text.WriteByte(',')
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return "", err
		}
		text.Write(quoted)
		text.WriteByte(':')
		text.Write(attributes[name])
	}
	text.WriteByte('}')
	return text.String(), nil
}

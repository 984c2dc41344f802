package projections

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
)

// EntityHistory is the view of entities as they were: a row for each version of each,
// whole, with who made it, when and why. Rows are only ever added. A view of its own,
// so that the one of entities as they are now stays as fast as it is.
func EntityHistory() Projection {
	return Projection{
		Name: "entity_history", Version: 1,
		Types: []string{
			entity.Created{}.EventType(), entity.Updated{}.EventType(), entity.Archived{}.EventType(), entity.Restored{}.EventType(),
			entity.RelationshipAdded{}.EventType(), entity.RelationshipRemoved{}.EventType(),
			entity.AccessChanged{}.EventType(), entity.TypeDefined{}.EventType(),
		},
		Tables:  []string{"entity_versions", "entity_types", accessTable},
		DDL:     entityHistoryDDL,
		Indexes: entityHistoryIndexes,
		Masked:  true,
		Apply:   applyEntityHistory,
	}
}

// entityHistoryDDL: the primary key finds the version of an entity that a time sees, and
// those beside it, whatever else there is to choose: times never decrease, and version
// tells apart what has one time.
func entityHistoryDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.entity_versions (
			org            text COLLATE "C" NOT NULL,
			id             uuid             NOT NULL,
			version        bigint           NOT NULL,
			position       bigint           NOT NULL,
			event_id       uuid             NOT NULL,
			event_type     text             NOT NULL,
			type           text COLLATE "C" NOT NULL,
			type_version   bigint           NOT NULL, -- the one that the attributes were last held against
			key            text COLLATE "C",
			status         text             NOT NULL,
			attributes     jsonb            NOT NULL,
			tags           text[]           NOT NULL,
			changed        text[]           NOT NULL, -- names of the attributes that differ from the version before
			kind           text, -- of the relationship that was added or removed,
			target         text, -- and what it leads to
			created_at     timestamptz      NOT NULL,
			created_by     text             NOT NULL,
			updated_at     timestamptz      NOT NULL, -- when this version was made
			updated_by     text             NOT NULL,
			on_behalf_of   text,
			reason         text,
			request_id     text             NOT NULL,
			correlation_id text             NOT NULL,
			PRIMARY KEY (org, id, updated_at, version)
		);
		-- Of the types only what decides on showing their entities, as it is now.
		CREATE TABLE ` + schema + `.entity_types (
			org         text COLLATE "C" NOT NULL,
			name        text COLLATE "C" NOT NULL,
			audit_reads text             NOT NULL,
			sensitive   text[]           NOT NULL,
			PRIMARY KEY (org, name)
		);` + entityAccessDDL(schema)
}

// entityHistoryIndexes: what lists sort by and never changes is read from first versions,
// and updated_at from all.
func entityHistoryIndexes(schema string) string {
	table := schema + ".entity_versions"
	return `
		CREATE INDEX entity_types_audited            ON ` + schema + `.entity_types (org, name) WHERE audit_reads = 'all';
		CREATE INDEX entity_versions_key             ON ` + table + ` (org, type, key, id) WHERE version = 1;
		CREATE INDEX entity_versions_created_at      ON ` + table + ` (org, created_at, id) WHERE version = 1;
		CREATE INDEX entity_versions_type_created_at ON ` + table + ` (org, type, created_at, id) WHERE version = 1;
		CREATE INDEX entity_versions_updated_at      ON ` + table + ` (org, updated_at, id);
		CREATE INDEX entity_versions_type_updated_at ON ` + table + ` (org, type, updated_at, id);`
}

// maxVersionBytes bounds the attributes that a statement is given, where the next one goes on
// from its rows: many small events of one large entity would else make each of them large.
const maxVersionBytes = 1 << 20

// applyEntityHistory queues a statement with a row for each event of entities, more of them
// where these are large, and one for the types.
func applyEntityHistory(batch *pgx.Batch, schema string, events []Event) error {
	rows := newVersionRows()
	types := shownTypes{}
	var access accessChanges
	for _, e := range events {
		if defined, ok := e.Payload.(entity.TypeDefined); ok {
			types[typeID{e.Org, defined.Name}] = defined
			continue
		}
		if err := rows.add(e, &access); err != nil {
			return fmt.Errorf("folding position %d: %w", e.Position, err)
		}
		if rows.bytes > maxVersionBytes {
			rows.queue(batch, schema)
			rows = newVersionRows()
		}
	}
	types.queue(batch, schema)
	rows.queue(batch, schema)
	return access.queue(batch, schema)
}

// shownTypes is the last word of a batch on how entities are shown, by type.
type shownTypes map[typeID]entity.TypeDefined

func (t shownTypes) queue(batch *pgx.Batch, schema string) {
	if len(t) == 0 {
		return
	}
	var orgs, names, audits, sensitive []string
	for id, defined := range t {
		orgs, names = append(orgs, id.org), append(names, id.name)
		audits, sensitive = append(audits, defined.AuditReads), append(sensitive, arrayLiteral(defined.Sensitive))
	}
	batch.Queue(`
		INSERT INTO `+schema+`.entity_types (org, name, audit_reads, sensitive)
		SELECT u.org, u.name, u.audit, u.sensitive::text[] FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u(org, name, audit, sensitive)
		ON CONFLICT (org, name) DO UPDATE SET audit_reads = excluded.audit_reads, sensitive = excluded.sensitive`, orgs, names, audits, sensitive)
}

// insertVersions: b is the last version from before the statement, if there is one; all of
// the statement go on from it.
func insertVersions(schema string) string {
	return `
		INSERT INTO ` + schema + `.entity_versions (org, id, version, position, event_id, event_type, type, key, status, attributes, tags,
		                                            changed, created_at, created_by, updated_at, updated_by, on_behalf_of, reason,
		                                            request_id, correlation_id, type_version, kind, target)
		SELECT u.org, u.id, u.version, u.position, u.event_id, u.event_type, coalesce(u.type, b.type), coalesce(u.key, b.key),
		       coalesce(u.status, b.status),
		       (coalesce(b.attributes, '{}') || u.attributes::jsonb) - u.removed::text[],
		       coalesce(u.tags::text[], b.tags), u.changed::text[], coalesce(u.created_at, b.created_at), coalesce(u.created_by, b.created_by),
		       u.updated_at, u.updated_by, u.on_behalf_of, u.reason, u.request_id, u.correlation_id,
		       coalesce(nullif(u.type_version, 0), b.type_version, 0), u.kind, u.target
		  FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::text[],
		              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::text[], $17::timestamptz[],
		              $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::bigint[], $24::text[], $25::text[])
		       AS u(org, id, before, version, position, event_id, event_type, type, key, status, attributes, removed, tags, changed,
		            created_at, created_by, updated_at, updated_by, on_behalf_of, reason, request_id, correlation_id, type_version, kind, target)
		  LEFT JOIN LATERAL (
			SELECT * FROM ` + schema + `.entity_versions b WHERE u.before > 0 AND b.org = u.org AND b.id = u.id ORDER BY b.updated_at DESC, b.version DESC LIMIT 1
		  ) b ON b.version = u.before`
}

// versionRows are the columns of many versions, for unnest. Null is what the version
// before the first of them says; lists are array literals.
type versionRows struct {
	org, eventType, attributes, removed, changed []string
	updatedBy, requestID, correlationID          []string
	typeName, key, status, tags                  []*string
	createdBy, onBehalfOf, reason, kind, target  []*string
	id, eventID                                  [][16]byte
	// before is the version that the entity had before these, 0 for none.
	before, version, position []int64
	// typeVersion is 0 for that of the version before these.
	typeVersion []int64
	createdAt   []*time.Time
	updatedAt   []time.Time

	// last is where an entity's latest row is, and sum what its events here come to.
	last map[entityID]int
	sum  map[entityID]*entityChange
	// bytes are those of attributes.
	bytes int
}

func newVersionRows() *versionRows {
	return &versionRows{last: map[entityID]int{}, sum: map[entityID]*entityChange{}}
}

func (r *versionRows) queue(batch *pgx.Batch, schema string) {
	if len(r.id) > 0 {
		batch.Queue(insertVersions(schema), r.arguments()...)
	}
}

// patch adds what an event's version has other than the one before these.
func (r *versionRows) patch(e Event, id entityID) error {
	sum := r.sum[id]
	if sum == nil {
		sum = &entityChange{}
		r.sum[id] = sum
	}
	switch p := e.Payload.(type) {
	case entity.Created:
		sum.set = maps.Clone(p.Attributes) // the payload is not ours
	case entity.Updated:
		sum.update(p)
	}
	set, err := encodeAttributes(sum.set)
	r.bytes += len(set)
	r.attributes, r.removed = append(r.attributes, set), append(r.removed, arrayLiteral(slices.Sorted(maps.Keys(sum.removed))))
	return err
}

// versionDelta is what an event changes of an entity, beside its attributes. Nil leaves
// alone, and a typeVersion of 0.
type versionDelta struct {
	changed      []string
	status, tags *string
	typeVersion  int64
	kind, target *string
}

func (r *versionRows) add(e Event, access *accessChanges) error {
	id, err := uuid.Parse(e.Stream.Name())
	if err != nil {
		return fmt.Errorf("stream of %s is not named by an id", e.Type)
	}
	delta, err := versionDeltaOf(e)
	if err != nil {
		return err
	}
	r.carry(e, entityID{e.Org, id}, delta)
	if err := r.patch(e, entityID{e.Org, id}); err != nil {
		return err
	}
	if p, ok := e.Payload.(entity.AccessChanged); ok {
		access.add(entityID{e.Org, id}, p.Entries)
	}
	r.org, r.id = append(r.org, e.Org), append(r.id, id)
	r.version, r.position = append(r.version, e.Version), append(r.position, e.Position)
	r.eventID, r.eventType = append(r.eventID, e.ID), append(r.eventType, e.Type)
	r.changed = append(r.changed, arrayLiteral(delta.changed))
	r.kind, r.target = append(r.kind, delta.kind), append(r.target, delta.target)
	r.updatedAt, r.updatedBy = append(r.updatedAt, e.RecordedAt), append(r.updatedBy, e.Actor.Sub)
	var onBehalfOf *string
	if e.OnBehalfOf != nil {
		onBehalfOf = &e.OnBehalfOf.Sub
	}
	r.onBehalfOf, r.reason = append(r.onBehalfOf, onBehalfOf), append(r.reason, orNull(e.Reason))
	r.requestID, r.correlationID = append(r.requestID, e.RequestID), append(r.correlationID, e.CorrelationID)
	return nil
}

// carry adds what a row takes over from the entity's row before it.
func (r *versionRows) carry(e Event, id entityID, delta versionDelta) {
	before, typeName, key, status, tags := e.Version-1, (*string)(nil), (*string)(nil), delta.status, delta.tags
	var (
		createdAt *time.Time
		createdBy *string
	)
	if created, ok := e.Payload.(entity.Created); ok {
		typeName, key, createdAt, createdBy = &created.Type, orNull(created.Key), &e.RecordedAt, &e.Actor.Sub
	} else if last, found := r.last[id]; found {
		before, typeName, key, createdAt, createdBy = r.before[last], r.typeName[last], r.key[last], r.createdAt[last], r.createdBy[last]
		if status == nil {
			status = r.status[last]
		}
		if tags == nil {
			tags = r.tags[last]
		}
		delta.typeVersion = cmp.Or(delta.typeVersion, r.typeVersion[last])
	}
	r.last[id] = len(r.before)
	r.before, r.typeName, r.key = append(r.before, before), append(r.typeName, typeName), append(r.key, key)
	r.status, r.tags = append(r.status, status), append(r.tags, tags)
	r.typeVersion = append(r.typeVersion, delta.typeVersion)
	r.createdAt, r.createdBy = append(r.createdAt, createdAt), append(r.createdBy, createdBy)
}

func versionDeltaOf(e Event) (versionDelta, error) {
	var delta versionDelta
	active, archived := statusActive, statusArchived
	switch p := e.Payload.(type) {
	case entity.Created:
		tags := arrayLiteral(p.Tags)
		delta.changed, delta.status, delta.tags = slices.Sorted(maps.Keys(p.Attributes)), &active, &tags
		delta.typeVersion = p.TypeVersion
	case entity.Updated:
		delta.changed, delta.typeVersion = slices.Sorted(maps.Keys(p.Attributes)), p.TypeVersion
		if p.Tags != nil {
			tags := arrayLiteral(p.Tags)
			delta.tags = &tags
		}
	case entity.Archived:
		delta.status = &archived
	case entity.Restored:
		delta.status, delta.typeVersion = &active, p.TypeVersion
	case entity.RelationshipAdded:
		delta.relationship(p.Kind, p.TargetID)
	case entity.RelationshipRemoved:
		delta.relationship(p.Kind, p.TargetID)
	case entity.AccessChanged:
	default:
		return delta, fmt.Errorf("event type %s is not part of this view", e.Type)
	}
	return delta, nil
}

func (d *versionDelta) relationship(kind string, id uuid.UUID) {
	target := id.String()
	d.kind, d.target = &kind, &target
}

// arguments are in the order of the statement's parameters.
func (r *versionRows) arguments() []any {
	return []any{
		r.org, r.id, r.before, r.version, r.position, r.eventID, r.eventType, r.typeName, r.key, r.status, r.attributes, r.removed,
		r.tags, r.changed, r.createdAt, r.createdBy, r.updatedAt, r.updatedBy, r.onBehalfOf, r.reason, r.requestID, r.correlationID, r.typeVersion,
		r.kind, r.target,
	}
}

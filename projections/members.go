package projections

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/member"
)

// Members is the directory: who has been seen in each organisation, with which roles
// and groups.
func Members() Projection {
	return Projection{
		Name: "members", Version: 1,
		Types:  []string{member.Changed{}.EventType()},
		Tables: []string{"members"},
		DDL: func(schema string) string {
			return `
				CREATE TABLE ` + schema + `.members (
					org        text COLLATE "C" NOT NULL,
					sub        text COLLATE "C" NOT NULL,
					person     text             NOT NULL,
					roles      text[]           NOT NULL,
					groups     text[]           NOT NULL,
					version    bigint           NOT NULL,
					updated_at timestamptz      NOT NULL,
					PRIMARY KEY (org, sub)
				);`
		},
		Indexes: func(string) string { return "" }, // lists go by the primary key
		Apply:   applyMembers,
	}
}

// applyMembers queues a statement for each member of the batch, with the last word: such
// events are rare.
func applyMembers(batch *pgx.Batch, schema string, events []Event) error {
	type key struct{ org, sub string }
	last := map[key]Event{}
	var order []key
	for _, e := range events {
		k := key{e.Org, e.Stream.Name()}
		if _, found := last[k]; !found {
			order = append(order, k)
		}
		last[k] = e
	}
	for _, k := range order {
		e := last[k]
		p, ok := e.Payload.(member.Changed)
		if !ok {
			return fmt.Errorf("event type %s at position %d is not part of this view", e.Type, e.Position)
		}
		batch.Queue(`
			INSERT INTO `+schema+`.members (org, sub, person, roles, groups, version, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (org, sub) DO UPDATE
			   SET person = excluded.person, roles = excluded.roles, groups = excluded.groups,
			       version = excluded.version, updated_at = excluded.updated_at`,
			k.org, k.sub, p.Person, p.Roles, p.Groups, e.Version, e.RecordedAt)
	}
	return nil
}

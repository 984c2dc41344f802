package projections

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
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
					sealed     jsonb            NOT NULL, -- name and email, as ciphertext
					PRIMARY KEY (org, sub)
				);`
		},
		Indexes: func(string) string { return "" }, // lists go by the primary key
		Apply:   applyMembers,
	}
}

// applyMembers queues a statement for each member of the batch, with the last word: such
// events are rare. A name or an address that is not told again stays.
func applyMembers(batch *pgx.Batch, schema string, events []Event) error {
	type key struct{ org, sub string }
	last, sealed := map[key]Event{}, map[key]map[string]domain.Sealed{}
	var order []key
	for _, e := range events {
		k := key{e.Org, e.Stream.Name()}
		if _, found := last[k]; !found {
			order = append(order, k)
			sealed[k] = map[string]domain.Sealed{}
		}
		last[k] = e
		maps.Copy(sealed[k], e.Sealed)
	}
	for _, k := range order {
		e := last[k]
		p, ok := e.Payload.(member.Changed)
		if !ok {
			return fmt.Errorf("event type %s at position %d is not part of this view", e.Type, e.Position)
		}
		fields, err := json.Marshal(sealed[k])
		if err != nil {
			return err
		}
		batch.Queue(`
			INSERT INTO `+schema+`.members AS m (org, sub, person, roles, groups, version, updated_at, sealed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (org, sub) DO UPDATE
			   SET person = excluded.person, roles = excluded.roles, groups = excluded.groups,
			       version = excluded.version, updated_at = excluded.updated_at, sealed = m.sealed || excluded.sealed`,
			k.org, k.sub, p.Person, p.Roles, p.Groups, e.Version, e.RecordedAt, string(fields))
	}
	return nil
}

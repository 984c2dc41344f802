package readmodels

import (
	"context"
	"encoding/json"
)

const (
	// maxExamined and maxExaminedBytes bound what one examination reads, for a second or
	// so of one connection.
	maxExamined      = 20_000
	maxExaminedBytes = 32 << 20
)

// Examination is what an examination of the entities of a type came to.
type Examination struct {
	// All is how many there are, archived ones included; Examined how many of them it is
	// known of whether they are valid, and Invalid how many of those are not. Of those with
	// sensitive attributes it is not.
	All, Examined, Invalid int64
}

// Examine asks of the entities of a type whether their attributes follow something, and
// whether all that they refer to is declared, in the order of their ids and of not more
// than are read in a second or so.
func (s *Store) Examine(
	ctx context.Context, org, typeName string, declared []RelationshipKind, follows func(attributes json.RawMessage) (yes, known bool),
) (found Examination, at Snapshot, err error) {
	kinds, targets := make([]string, len(declared)), make([]string, len(declared))
	for i, kind := range declared {
		kinds[i], targets[i] = kind.Kind, kind.Target
	}
	at, err = s.read(ctx, org, entitiesView, func(schema string) statement {
		found = Examination{}
		of := schema + `.entities e WHERE e.org = $2 AND e.type = $3`
		return statement{
			sql: `SELECT ` + heads + `, (SELECT count(*) FROM ` + of + `), e.attributes, e.sealed <> '{}', EXISTS (
				SELECT FROM ` + schema + `.relationships r WHERE r.org = $2 AND r.source = e.id
				   AND (r.kind, r.target_type) NOT IN (SELECT * FROM unnest($6::text[], $7::text[])))
				FROM ` + pointed + ` LEFT JOIN LATERAL (
					SELECT id, attributes, sealed, sum(pg_column_size(attributes)) OVER (ORDER BY id) AS bytes
					  FROM (SELECT id, attributes, sealed FROM ` + of + ` ORDER BY id LIMIT $4) e
				) e ON e.bytes <= $5`,
			args: []any{entitiesView, org, typeName, maxExamined, maxExaminedBytes, kinds, targets},
			row: func(scan func(...any) error) error {
				var (
					attributes []byte
					undeclared bool
					sealed     *bool
				)
				if err := scan(&found.All, &attributes, &sealed, &undeclared); err != nil || attributes == nil {
					return err
				}
				yes, known := follows(attributes)
				if *sealed { // whether a mask follows says nothing
					known = false
				}
				if known || undeclared {
					found.Examined++
				}
				if known && !yes || undeclared {
					found.Invalid++
				}
				return ctx.Err()
			},
		}
	})
	return found, at, err
}

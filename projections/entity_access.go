package projections

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
)

// Who may see an entity is kept in every view that shows entities, so that rows and who
// may see them are always of one position.

// accessTable has a row for each entity that is not open to all.
const accessTable = "entity_access"

// entityAccessDDL: readers and denied are of the entries what lists compare with the
// caller's names.
func entityAccessDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.` + accessTable + ` (
			org     text COLLATE "C" NOT NULL,
			id      uuid             NOT NULL,
			entries json             NOT NULL,
			readers text[]           NOT NULL,
			denied  text[]           NOT NULL,
			PRIMARY KEY (org, id)
		);`
}

// accessChanges are the entries that entities have at the end of a batch.
type accessChanges struct {
	last map[entityID]int
	// Of each change; without entries an entity is open.
	id      []entityID
	entries [][]entity.ACLEntry
}

func (a *accessChanges) add(id entityID, entries []entity.ACLEntry) {
	if at, found := a.last[id]; found {
		a.entries[at] = entries
		return
	}
	if a.last == nil {
		a.last = map[entityID]int{}
	}
	a.last[id] = len(a.id)
	a.id, a.entries = append(a.id, id), append(a.entries, entries)
}

// queue adds at most one statement for what has entries and one for what is open again.
func (a *accessChanges) queue(batch *pgx.Batch, schema string) error {
	var (
		org, entries, readers, denied, openOrg []string
		id, openID                             []uuid.UUID
	)
	for i, one := range a.id {
		if len(a.entries[i]) == 0 {
			openOrg, openID = append(openOrg, one.org), append(openID, one.id)
			continue
		}
		text, err := json.Marshal(a.entries[i])
		if err != nil {
			return fmt.Errorf("encoding ACL entries: %w", err)
		}
		allowed, kept := entity.Readers(a.entries[i])
		org, id, entries = append(org, one.org), append(id, one.id), append(entries, string(text))
		readers, denied = append(readers, arrayLiteral(allowed)), append(denied, arrayLiteral(kept))
	}
	if len(id) > 0 {
		batch.Queue(`
			INSERT INTO `+schema+`.`+accessTable+` AS a (org, id, entries, readers, denied)
			SELECT u.org, u.id, u.entries::json, u.readers::text[], u.denied::text[]
			  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS u(org, id, entries, readers, denied)
			ON CONFLICT (org, id) DO UPDATE SET entries = excluded.entries, readers = excluded.readers, denied = excluded.denied`,
			org, id, entries, readers, denied)
	}
	if len(openID) > 0 {
		batch.Queue(`DELETE FROM `+schema+`.`+accessTable+` a USING unnest($1::text[], $2::uuid[]) AS u(org, id)
			WHERE a.org = u.org AND a.id = u.id`, openOrg, openID)
	}
	return nil
}

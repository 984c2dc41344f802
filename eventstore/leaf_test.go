package eventstore_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
)

// The types of PostgreSQL that docs/leaf.md names by number.
const (
	oidBytea     = 17
	oidInt8      = 20
	oidInt4      = 23
	oidText      = 25
	oidTextArray = 1009
	oidUUID      = 2950
)

// leafColumns is how many columns a leaf has, the name of the format included.
const leafColumns = 22

// leafWriter builds a leaf by docs/leaf.md alone, without PostgreSQL.
type leafWriter struct{ bytes []byte }

func (w *leafWriter) number(n int) {
	w.bytes = binary.BigEndian.AppendUint32(w.bytes, uint32(n))
}

func (w *leafWriter) column(oid int, value []byte) {
	w.number(oid)
	w.number(len(value))
	w.bytes = append(w.bytes, value...)
}

func (w *leafWriter) text(s string) { w.column(oidText, []byte(s)) }

func (w *leafWriter) optionalText(s *string) {
	if s == nil {
		w.number(oidText)
		w.number(-1)
		return
	}
	w.text(*s)
}

func (w *leafWriter) int8(n int64) {
	w.column(oidInt8, binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (w *leafWriter) int4(n int) {
	w.column(oidInt4, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func (w *leafWriter) uuid(id uuid.UUID) { w.column(oidUUID, id[:]) }

func (w *leafWriter) texts(items []string) {
	var array leafWriter
	if len(items) == 0 {
		array.number(0) // dimensions
	} else {
		array.number(1)
	}
	array.number(0) // no nulls
	array.number(oidText)
	if len(items) > 0 {
		array.number(len(items))
		array.number(1) // the first index
	}
	for _, item := range items {
		array.number(len(item))
		array.bytes = append(array.bytes, item...)
	}
	w.column(oidTextArray, array.bytes)
}

// leafRow is a row of the log with actor and on_behalf_of as the text stored.
type leafRow struct {
	position, orgPosition, version                      int64
	epoch, id, commandID                                uuid.UUID
	org, stream, kind, actor                            string
	schemaVersion                                       int
	tags, subjects                                      []string
	data, leafHash                                      []byte
	onBehalfOf, reason, request, correlation, causation *string
	occurredAt, recordedAt                              time.Time
}

func (r leafRow) leaf() []byte {
	var w leafWriter
	w.number(leafColumns)
	w.text("hub.event.1")
	w.int8(r.position)
	w.int8(r.orgPosition)
	w.uuid(r.epoch)
	w.uuid(r.id)
	w.text(r.org)
	w.text(r.stream)
	w.int8(r.version)
	w.text(r.kind)
	w.int4(r.schemaVersion)
	w.texts(r.tags)
	w.texts(r.subjects)
	w.column(oidBytea, r.data)
	w.text(r.actor)
	w.optionalText(r.onBehalfOf)
	w.optionalText(r.reason)
	w.optionalText(r.request)
	w.optionalText(r.correlation)
	w.optionalText(r.causation)
	w.uuid(r.commandID)
	w.int8(r.occurredAt.UnixMicro())
	w.int8(r.recordedAt.UnixMicro())
	return w.bytes
}

func (l log) leafRows(t *testing.T) []leafRow {
	t.Helper()
	rows, err := l.admin(t).Query(t.Context(), `
		SELECT position, org_position, epoch, id, org, stream, version, type, schema_version, tags, subjects, data,
		       actor::text, on_behalf_of::text, reason, request_id, correlation_id, causation_id, command_id,
		       occurred_at, recorded_at, leaf_hash
		  FROM events ORDER BY position`)
	require.NoError(t, err)
	stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (leafRow, error) {
		var r leafRow
		err := row.Scan(&r.position, &r.orgPosition, &r.epoch, &r.id, &r.org, &r.stream, &r.version, &r.kind, &r.schemaVersion,
			&r.tags, &r.subjects, &r.data, &r.actor, &r.onBehalfOf, &r.reason, &r.request, &r.correlation, &r.causation,
			&r.commandID, &r.occurredAt, &r.recordedAt, &r.leafHash)
		return r, err
	})
	require.NoError(t, err)
	return stored
}

// What docs/leaf.md promises: the hash follows from the row without PostgreSQL.
func TestLeafHashIsReproducibleWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	full := one(nil, event("a:1", 1, "key:x/ü"), event("a:1", 2))
	full.Outcomes[0].Events[0].Subjects = []string{"s-1", "s-2"}
	full.Outcomes[0].Events[0].Reason, full.Outcomes[0].Events[1].Reason = `a "reason" 日本`, "another"
	full.Outcomes[0].Events[1].Data = []byte{}
	m := &full.Outcomes[0].Meta
	m.OnBehalfOf = &domain.Actor{Sub: "bo", Person: "bo"}
	m.RequestID, m.CorrelationID, m.CausationID = "r-1", "c-1", "c-0"
	m.Now = time.Date(1969, 12, 31, 23, 59, 59, 1000, time.UTC) // before 1970: a negative number
	l.append(t, full)
	l.append(t, one(nil, event("a:2", 1)))

	stored := l.leafRows(t)
	require.Len(t, stored, 3)
	for _, row := range stored {
		hash := sha256.Sum256(append([]byte{0x00}, row.leaf()...))
		assert.Equal(t, row.leafHash, hash[:], "position %d", row.position)

		row.reason = nil
		row.data = append(row.data, ' ')
		changed := sha256.Sum256(append([]byte{0x00}, row.leaf()...))
		assert.NotEqual(t, row.leafHash, changed[:], "position %d, changed", row.position)
	}
}

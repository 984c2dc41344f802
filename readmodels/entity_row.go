package readmodels

import (
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// entityRow is what the rows of a statement are scanned into, one after the other: what a
// page costs is mostly the sixteen columns of its fifty rows. The driver fills its own types
// without allocating; pointers, which may be nil, and types of others cost it several times as much.
type entityRow struct {
	id                                 pgtype.UUID
	kind, status, createdBy, updatedBy repeatedText
	key                                pgtype.Text
	attributes                         []byte
	tags                               pgtype.FlatArray[string]
	version, typeVersion               pgtype.Int8
	createdAt, updatedAt               pgtype.Timestamptz
	audited                            pgtype.Bool
	definition                         *entityTypeRow

	destinations []any
}

// newEntityRow makes a row of entityColumns and audited, with columns before them and, if wanted, those
// of the type after them.
func newEntityRow(before []any, expandType bool) *entityRow {
	r := &entityRow{}
	r.destinations = append(slices.Clone(before), &r.id, &r.kind, &r.key, &r.status, &r.attributes, &r.tags, &r.version, &r.typeVersion,
		&r.createdAt, &r.createdBy, &r.updatedAt, &r.updatedBy, &r.audited)
	if expandType {
		r.definition = &entityTypeRow{}
		r.destinations = append(r.destinations, r.definition.columns()...)
	}
	return r
}

// scan reads a row. It reports false for the row of nulls that a statement has when it
// finds nothing.
func (r *entityRow) scan(scan func(...any) error, e *Entity) (found bool, err error) {
	if r.definition != nil {
		*r.definition = entityTypeRow{}
	}
	if err := scan(r.destinations...); err != nil || !r.id.Valid {
		return false, err
	}
	e.ID, e.Type, e.Status = r.id.Bytes, r.kind.text, r.status.text
	e.Attributes, e.Tags = r.attributes, r.tags
	e.Version, e.TypeVersion = r.version.Int64, r.typeVersion.Int64
	e.CreatedAt, e.CreatedBy = r.createdAt.Time.UTC(), r.createdBy.text
	e.UpdatedAt, e.UpdatedBy = r.updatedAt.Time.UTC(), r.updatedBy.text
	e.Audited = r.audited.Bool
	if r.key.Valid {
		key := r.key.String
		e.Key = &key
	}
	if r.definition != nil {
		e.Definition, err = r.definition.entityType()
	}
	return true, err
}

// repeatedText is a text that is often that of the row before, and is then the same one.
type repeatedText struct{ text string }

// ScanBytes takes a text, or nil for null. Part of pgtype.BytesScanner.
func (t *repeatedText) ScanBytes(text []byte) error {
	if string(text) != t.text { // compared without a copy
		t.text = string(text)
	}
	return nil
}

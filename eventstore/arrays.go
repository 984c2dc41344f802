package eventstore

import (
	"github.com/jackc/pgx/v5/pgtype"
)

// array is a parameter whose elements pgx takes by pointer: it would copy each
// string and id of a slice to the heap, several dozen a command.
type array[T any] []T

// Dimensions is part of pgtype.ArrayGetter.
func (a array[T]) Dimensions() []pgtype.ArrayDimension {
	if a == nil {
		return nil
	}
	return []pgtype.ArrayDimension{{Length: int32(len(a)), LowerBound: 1}} //nolint:gosec // bounded by the turn
}

// Index is part of pgtype.ArrayGetter.
func (a array[T]) Index(i int) any { return &a[i] }

// IndexType is part of pgtype.ArrayGetter.
func (array[T]) IndexType() any { return new(T) }

// text is an element of a text[].
type text string

// TextValue implements pgtype.TextValuer.
func (t *text) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(*t), Valid: true}, nil
}

// optional is an element of a text[] in which the empty text is NULL.
type optional string

// TextValue implements pgtype.TextValuer.
func (t *optional) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(*t), Valid: *t != ""}, nil
}

// id is an element of a uuid[].
type id [16]byte

// UUIDValue implements pgtype.UUIDValuer.
func (u *id) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: *u, Valid: true}, nil }

// blob is an element of a bytea[]; nil is NULL.
type blob []byte

// BytesValue implements pgtype.BytesValuer.
func (b *blob) BytesValue() ([]byte, error) { return *b, nil }

// number is an element of a bigint[] or integer[].
type number int64

// Int64Value implements pgtype.Int64Valuer.
func (n *number) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: int64(*n), Valid: true}, nil
}

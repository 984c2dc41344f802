package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// eventColumns are the columns of events in the order of the leaf's fields (docs/leaf.md),
// then the leaf hash.
var eventColumns = []string{
	"position", "org_position", "epoch", "id", "org", "stream", "version", "type", "schema_version", "tags", "subjects",
	"data", "actor", "on_behalf_of", "reason", "request_id", "correlation_id", "causation_id", "command_id",
	"occurred_at", "recorded_at", "leaf_hash",
}

// The types of the leaf, as PostgreSQL numbers them.
const (
	typeBytea     = 17
	typeInt8      = 20
	typeInt4      = 23
	typeText      = 25
	typeTextArray = 1009
	typeUUID      = 2950
)

var leafTypes = []uint32{
	typeInt8, typeInt8, typeUUID, typeUUID, typeText, typeText, typeInt8, typeText, typeInt4, typeTextArray, typeTextArray,
	typeBytea, typeText, typeText, typeText, typeText, typeText, typeText, typeUUID, typeInt8, typeInt8,
}

// Where some of the fields are.
const (
	fieldPosition    = 0
	fieldOrgPosition = 1
	fieldOrg         = 4
	fieldOccurredAt  = 19
	fieldRecordedAt  = 20
	fieldLeafHash    = 21
)

// microsecondsTo2000 is where PostgreSQL's times begin, in Unix microseconds.
const microsecondsTo2000 = 946_684_800_000_000

const leafName = "hub.event.1"

// checker follows the events of a log from the first on.
type checker struct {
	head     int64
	recorded int64
	orgs     map[string]int64
	leaf     []byte
}

func newChecker() *checker { return &checker{orgs: map[string]int64{}} }

// check takes the next event: its position and its organisation's follow the last ones,
// its time is no earlier, and its hash is that of its leaf.
func (c *checker) check(fields [][]byte) error {
	position, ok1 := int64Of(fields[fieldPosition])
	inOrg, ok2 := int64Of(fields[fieldOrgPosition])
	recorded, ok3 := int64Of(fields[fieldRecordedAt])
	_, ok4 := int64Of(fields[fieldOccurredAt])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return fmt.Errorf("after position %d comes something that is no event", c.head)
	}
	org := string(fields[fieldOrg])
	switch {
	case position != c.head+1:
		return fmt.Errorf("after position %d comes %d", c.head, position)
	case inOrg != c.orgs[org]+1:
		return fmt.Errorf("position %d does not continue its organisation", position)
	case c.head > 0 && recorded < c.recorded:
		return fmt.Errorf("position %d was recorded before the one before it", position)
	}
	hash := sha256.Sum256(c.leafOf(fields))
	if !bytes.Equal(hash[:], fields[fieldLeafHash]) {
		return fmt.Errorf("position %d is not what was hashed", position)
	}
	c.head, c.recorded, c.orgs[org] = position, recorded, inOrg
	return nil
}

// leafOf is 0x00 and the leaf of an event; good until the next call.
func (c *checker) leafOf(fields [][]byte) []byte {
	leaf := c.leaf[:0]
	leaf = append(leaf, 0)
	leaf = binary.BigEndian.AppendUint32(leaf, uint32(len(leafTypes)+1)) //nolint:gosec // 22
	leaf = appendField(leaf, typeText, []byte(leafName))
	for i, oid := range leafTypes {
		value := fields[i]
		if i == fieldOccurredAt || i == fieldRecordedAt {
			at, _ := int64Of(value)                                                   // check has looked
			value = binary.BigEndian.AppendUint64(nil, uint64(at+microsecondsTo2000)) //nolint:gosec // two's complement, as PostgreSQL sends it
		}
		leaf = appendField(leaf, oid, value)
	}
	c.leaf = leaf
	return leaf
}

func appendField(to []byte, oid uint32, value []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, oid)
	if value == nil {
		return append(to, 0xff, 0xff, 0xff, 0xff)
	}
	to = binary.BigEndian.AppendUint32(to, uint32(len(value))) //nolint:gosec // at most maxFieldBytes
	return append(to, value...)
}

func int64Of(field []byte) (int64, bool) {
	if len(field) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(field)), true //nolint:gosec // two's complement, as PostgreSQL sends it
}

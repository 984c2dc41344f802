package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
)

// usualEntry is an event as most are, the last of its command.
func usualEntry() eventstore.LogEntry {
	command := uuid.MustParse("01920000-0000-7000-8000-000000000003")
	return eventstore.LogEntry{
		Event: domain.Event{
			Position: 42, OrgPosition: 7, Org: "acme",
			Epoch:  uuid.MustParse("01920000-0000-4000-8000-000000000001"),
			ID:     uuid.MustParse("01920000-0000-7000-8000-000000000002"),
			Stream: "entity:01920000-0000-7000-8000-000000000004", Version: 1,
			Type: "entity.created", SchemaVersion: 1,
			Tags:          []domain.Tag{"entity:01920000-0000-7000-8000-000000000004", "key:customer/C 17"},
			Subjects:      []string{},
			Data:          []byte(`{"type":"customer","key":"C 17","attributes":{"city":"Zürich"}}`),
			Actor:         domain.Actor{Sub: "ana", Person: "ana"},
			Reason:        "100% größer",
			RequestID:     "req-1",
			CorrelationID: "req-1",
			CommandID:     command,
			OccurredAt:    time.UnixMicro(1_763_856_000_000_001).UTC(),
			RecordedAt:    time.UnixMicro(1_763_856_000_100_000).UTC(),
			LeafHash:      bytes.Repeat([]byte{0xab}, 32),
		},
		Receipt: &eventstore.Receipt{
			CommandID: command, Org: "acme", Caller: "ana", IdempotencyKey: "k-1", RequestHash: []byte{1, 2, 3},
			ResourceID: "01920000-0000-7000-8000-000000000004", Created: true, Version: 1, FirstPosition: 42, Position: 42,
		},
	}
}

// The names and the forms of the headers are what consumers and a restore of the
// log depend on: this test may gain lines, never change one.
func TestMessageFormatIsFixed(t *testing.T) {
	t.Parallel()
	entry := usualEntry()
	message := relay.Encode(entry)
	require.Equal(t, "hub.events.acme.entity.created", message.Subject)
	require.Equal(t, entry.Data, message.Data)
	require.Equal(t, nats.Header{
		"Nats-Msg-Id":        {"01920000-0000-7000-8000-000000000002"},
		"content-type":       {"application/json"},
		"ce-specversion":     {"1.0"},
		"ce-datacontenttype": {"application/json"},
		"ce-id":              {"01920000-0000-7000-8000-000000000002"},
		"ce-type":            {"entity.created"},
		"ce-source":          {"urn:hub-backend:acme"},
		"ce-subject":         {"entity:01920000-0000-7000-8000-000000000004"},
		"ce-time":            {"2025-11-23T00:00:00.000001Z"},
		"ce-position":        {"42"},
		"ce-orgposition":     {"7"},
		"ce-epoch":           {"01920000-0000-4000-8000-000000000001"},
		"ce-org":             {"acme"},
		"ce-streamversion":   {"1"},
		"ce-schemaversion":   {"1"},
		"ce-tags":            {"[%22entity:01920000-0000-7000-8000-000000000004%22,%22key:customer/C%2017%22]"},
		"ce-subjects":        {"[]"},
		"ce-actor":           {"{%22sub%22:%22ana%22,%22person%22:%22ana%22}"},
		"ce-reason":          {"100%25%20gr%C3%B6%C3%9Fer"},
		"ce-requestid":       {"req-1"},
		"ce-correlationid":   {"req-1"},
		"ce-commandid":       {"01920000-0000-7000-8000-000000000003"},
		"ce-recordedat":      {"2025-11-23T00:00:00.100000Z"},
		"ce-leafhash":        {"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="},
		"ce-hubreceipt": {"{%22command_id%22:%2201920000-0000-7000-8000-000000000003%22,%22org%22:%22acme%22,%22caller%22:%22ana%22," +
			"%22idempotency_key%22:%22k-1%22,%22request_hash%22:%22AQID%22,%22resource_id%22:%2201920000-0000-7000-8000-000000000004%22," +
			"%22created%22:true,%22version%22:1,%22first_position%22:42,%22position%22:42}"},
	}, message.Header)
}

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entry := anyEntry.Draw(t, "entry")
		message := relay.Encode(entry)

		wire := nats.NewMsg(message.Subject)
		wire.Header = message.Header
		for name, values := range message.Header {
			for _, c := range []byte(values[0]) {
				if c <= ' ' || c > '~' {
					t.Fatalf("header %s holds the byte %#x", name, c)
				}
			}
		}

		decoded, err := relay.Decode(wire.Header, message.Data)
		require.NoError(t, err)
		require.Equal(t, entry, decoded)
	})
}

func TestDecodeRefusesWhatLacksAColumn(t *testing.T) {
	t.Parallel()
	optional := map[string]bool{
		"Nats-Msg-Id": true, "content-type": true, "ce-datacontenttype": true, "ce-source": true, "ce-tags": true,
		"ce-subjects": true, "ce-onbehalfof": true, "ce-reason": true, "ce-requestid": true, "ce-correlationid": true,
		"ce-causationid": true, "ce-leafhash": true, "ce-hubreceipt": true,
	}
	for name := range relay.Encode(usualEntry()).Header {
		for _, damage := range []string{"", "%", "%zz", "%ff"} {
			message := relay.Encode(usualEntry())
			message.Header[name] = []string{damage}
			_, err := relay.Decode(message.Header, message.Data)
			if !optional[name] {
				require.Error(t, err, "%s = %q", name, damage)
			}
		}
	}
}

// anyEntry draws events with every character that PostgreSQL stores in a text.
var anyEntry = rapid.Custom(func(t *rapid.T) eventstore.LogEntry {
	text := rapid.StringOf(rapid.OneOf(
		rapid.Rune(), rapid.RuneFrom([]rune(`"\%, []{}é🙂`+"\u2028\ufeff\t\n\r\x7f\x01")))).Filter(func(s string) bool {
		return !bytes.ContainsRune([]byte(s), 0)
	})
	named := text.Filter(func(s string) bool { return s != "" })
	tag := rapid.Map(text, func(s string) domain.Tag { return domain.Tag(s) })
	id := rapid.Custom(func(t *rapid.T) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
	})
	position := rapid.Int64Min(0)
	moment := rapid.Map(rapid.Int64Range(-62_135_596_800_000_000, 253_402_300_799_999_999), func(micros int64) time.Time {
		return time.UnixMicro(micros).UTC()
	})
	actor := rapid.Custom(func(t *rapid.T) domain.Actor {
		return domain.Actor{Sub: text.Draw(t, "sub"), Person: text.Draw(t, "person")}
	})
	receipt := rapid.Custom(func(t *rapid.T) eventstore.Receipt {
		return eventstore.Receipt{
			CommandID: id.Draw(t, "command"), Org: text.Draw(t, "org"), Caller: text.Draw(t, "caller"),
			IdempotencyKey: text.Draw(t, "key"),
			RequestHash:    rapid.SampledFrom([][]byte{nil, bytes.Repeat([]byte{7}, 32)}).Draw(t, "hash"),
			ResourceID:     text.Draw(t, "resource"), Created: rapid.Bool().Draw(t, "created"),
			Version: position.Draw(t, "version"), FirstPosition: position.Draw(t, "first"), Position: position.Draw(t, "last"),
		}
	})
	entry := eventstore.LogEntry{Event: domain.Event{
		Position: position.Draw(t, "position"), OrgPosition: position.Draw(t, "org position"),
		Epoch: id.Draw(t, "epoch"), ID: id.Draw(t, "id"), Org: rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "org"),
		Stream: domain.Tag(named.Draw(t, "stream")), Version: position.Draw(t, "version"),
		Type:          rapid.StringMatching(`[a-z_]{1,10}\.[a-z_]{1,10}`).Draw(t, "type"),
		SchemaVersion: rapid.IntRange(1, 1000).Draw(t, "schema version"),
		Data:          rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "data"),
		Actor:         actor.Draw(t, "actor"), Reason: text.Draw(t, "reason"), RequestID: text.Draw(t, "request"),
		CorrelationID: text.Draw(t, "correlation"), CausationID: text.Draw(t, "causation"), CommandID: id.Draw(t, "command"),
		OccurredAt: moment.Draw(t, "occurred"), RecordedAt: moment.Draw(t, "recorded"),
	}}
	if rapid.Bool().Draw(t, "has tags") {
		entry.Tags = rapid.SliceOfN(tag, 0, 5).Draw(t, "tags")
	}
	if rapid.Bool().Draw(t, "has subjects") {
		entry.Subjects = rapid.SliceOfN(text, 0, 5).Draw(t, "subjects")
	}
	if rapid.Bool().Draw(t, "has leaf hash") {
		entry.LeafHash = rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "leaf hash")
	}
	if rapid.Bool().Draw(t, "has on behalf of") {
		on := actor.Draw(t, "on behalf of")
		entry.OnBehalfOf = &on
	}
	if rapid.Bool().Draw(t, "has receipt") {
		r := receipt.Draw(t, "receipt")
		entry.Receipt = &r
	}
	return entry
})

// Whatever comes from the network is refused or understood: what is understood
// survives being sent again.
func FuzzDecode(f *testing.F) {
	for _, entry := range []eventstore.LogEntry{usualEntry(), {Event: usualEntry().Event}} {
		var block bytes.Buffer
		block.WriteString("NATS/1.0\r\n")
		message := relay.Encode(entry)
		for name, values := range message.Header {
			block.WriteString(name + ": " + values[0] + "\r\n")
		}
		block.WriteString("\r\n")
		f.Add(block.Bytes(), message.Data)
	}
	f.Fuzz(func(t *testing.T, block, data []byte) {
		header, err := nats.DecodeHeadersMsg(block)
		if err != nil {
			return
		}
		entry, err := relay.Decode(header, data)
		if err != nil {
			return
		}
		message := relay.Encode(entry)
		again, err := relay.Decode(message.Header, message.Data)
		require.NoError(t, err)
		require.Equal(t, entry.Event, again.Event)
	})
}

func BenchmarkEncode(b *testing.B) {
	entry := usualEntry()
	b.ReportAllocs()
	for b.Loop() {
		relay.Encode(entry)
	}
}

func BenchmarkDecode(b *testing.B) {
	message := relay.Encode(usualEntry())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := relay.Decode(message.Header, message.Data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	message := relay.Encode(usualEntry())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := relay.DecodeEvent(message.Header, message.Data); err != nil {
			b.Fatal(err)
		}
	}
}

package relay

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// The headers of a message: CloudEvents 1.0 in binary mode, each attribute with the
// prefix "ce-". What CloudEvents does not know are extension attributes, for which
// it allows lower-case letters and digits only. They never change and never go: a
// lost tail of the log is restored from them.
const (
	headerContentType     = "content-type"
	headerSpecVersion     = "ce-specversion"
	headerDataContentType = "ce-datacontenttype"
	headerID              = "ce-id"
	headerType            = "ce-type"
	headerSource          = "ce-source"
	headerSubject         = "ce-subject"
	headerTime            = "ce-time"
	headerPosition        = "ce-position"
	headerOrgPosition     = "ce-orgposition"
	headerEpoch           = "ce-epoch"
	headerOrg             = "ce-org"
	headerStreamVersion   = "ce-streamversion"
	headerSchemaVersion   = "ce-schemaversion"
	headerTags            = "ce-tags"
	headerSubjects        = "ce-subjects"
	headerActor           = "ce-actor"
	headerOnBehalfOf      = "ce-onbehalfof"
	headerReason          = "ce-reason"
	headerRequestID       = "ce-requestid"
	headerCorrelationID   = "ce-correlationid"
	headerCausationID     = "ce-causationid"
	headerCommandID       = "ce-commandid"
	headerRecordedAt      = "ce-recordedat"
	headerLeafHash        = "ce-leafhash"
	headerReceipt         = "ce-hubreceipt"

	// headerTraceparent is that of W3C Trace Context: the span that published the message,
	// for consumers elsewhere. It is no column of the log, and there only while the trace
	// is recorded.
	headerTraceparent = "traceparent"
)

const (
	specVersion  = "1.0"
	contentType  = "application/json"
	sourcePrefix = "urn:hub-backend:"
	subjectRoot  = "hub.events."

	// timeLayout has all of PostgreSQL's microseconds, so that times survive.
	timeLayout = "2006-01-02T15:04:05.000000Z"
)

// Subject is where an event is published: hub.events.<org>.<category>.<event>.
// Neither an organisation's name nor an event's type has characters that mean
// something to NATS.
func Subject(e domain.Event) string { return subjectRoot + e.Org + "." + e.Type }

// Encode makes the message of an event: CloudEvents 1.0, binary mode, with every
// column of the log in headers and the exact bytes of the data as body. Decode is
// its inverse.
func Encode(entry eventstore.LogEntry) *nats.Msg {
	w := newHeaderWriter()
	e := &entry.Event
	w.uuid(headerID, e.ID)
	w.uuid(jetstream.MsgIDHeader, e.ID)
	w.text(headerContentType, contentType)
	w.text(headerSpecVersion, specVersion)
	w.text(headerDataContentType, contentType)
	w.text(headerType, e.Type)
	w.text(headerSource, sourcePrefix+e.Org)
	w.text(headerSubject, string(e.Stream))
	w.time(headerTime, e.OccurredAt)
	w.integer(headerPosition, e.Position)
	w.integer(headerOrgPosition, e.OrgPosition)
	w.uuid(headerEpoch, e.Epoch)
	w.text(headerOrg, e.Org)
	w.integer(headerStreamVersion, e.Version)
	w.integer(headerSchemaVersion, int64(e.SchemaVersion))
	if e.Tags != nil {
		writeTextArray(w, headerTags, e.Tags)
	}
	if e.Subjects != nil {
		writeTextArray(w, headerSubjects, e.Subjects)
	}
	w.actor(headerActor, e.Actor)
	if e.OnBehalfOf != nil {
		w.actor(headerOnBehalfOf, *e.OnBehalfOf)
	}
	w.optionalText(headerReason, e.Reason)
	w.optionalText(headerRequestID, e.RequestID)
	w.optionalText(headerCorrelationID, e.CorrelationID)
	w.optionalText(headerCausationID, e.CausationID)
	w.uuid(headerCommandID, e.CommandID)
	w.time(headerRecordedAt, e.RecordedAt)
	if e.LeafHash != nil {
		w.values = base64.StdEncoding.AppendEncode(w.values, e.LeafHash)
		w.end(headerLeafHash)
	}
	if entry.Receipt != nil {
		w.receipt(headerReceipt, entry.Receipt)
	}
	return &nats.Msg{Subject: Subject(*e), Header: w.header(), Data: e.Data}
}

// Decode reads the headers and the body of a message made by Encode, the receipt
// included. It refuses what lacks a column that every event has. The data is not
// copied.
func Decode(header nats.Header, data []byte) (eventstore.LogEntry, error) {
	event, err := DecodeEvent(header, data)
	if err != nil {
		return eventstore.LogEntry{}, err
	}
	entry := eventstore.LogEntry{Event: event}
	r := headerReader{header: header}
	if r.has(headerReceipt) {
		entry.Receipt = new(eventstore.Receipt)
		r.json(headerReceipt, entry.Receipt)
	}
	return entry, r.err
}

// DecodeEvent is Decode without the receipt, which only a restore of the log needs
// and which takes longer to read than all the rest.
func DecodeEvent(header nats.Header, data []byte) (domain.Event, error) {
	r := headerReader{header: header}
	if v := r.text(headerSpecVersion); v != specVersion {
		return domain.Event{}, fmt.Errorf("the message is not a CloudEvent of version %s: %q", specVersion, v)
	}
	event := domain.Event{
		Position:      r.integer(headerPosition),
		OrgPosition:   r.integer(headerOrgPosition),
		Epoch:         r.uuid(headerEpoch),
		ID:            r.uuid(headerID),
		Org:           r.text(headerOrg),
		Stream:        domain.Tag(r.text(headerSubject)),
		Version:       r.integer(headerStreamVersion),
		Type:          r.text(headerType),
		SchemaVersion: int(r.integer(headerSchemaVersion)),
		Tags:          readTextArray[domain.Tag](&r, headerTags),
		Subjects:      readTextArray[string](&r, headerSubjects),
		Data:          data,
		Actor:         r.actor(headerActor),
		Reason:        r.optionalText(headerReason),
		RequestID:     r.optionalText(headerRequestID),
		CorrelationID: r.optionalText(headerCorrelationID),
		CausationID:   r.optionalText(headerCausationID),
		CommandID:     r.uuid(headerCommandID),
		OccurredAt:    r.time(headerTime),
		RecordedAt:    r.time(headerRecordedAt),
		LeafHash:      r.bytes(headerLeafHash),
	}
	if r.has(headerOnBehalfOf) {
		actor := r.actor(headerOnBehalfOf)
		event.OnBehalfOf = &actor
	}
	if r.err != nil {
		return domain.Event{}, r.err
	}
	return event, nil
}

// headerWriter collects all values in one buffer and cuts them apart at the end:
// one message has some thirty headers, and the relay makes thousands a second.
type headerWriter struct {
	names  [maxHeaders]string
	ends   [maxHeaders]int
	count  int
	values []byte
}

// maxHeaders is above the number of header constants.
const maxHeaders = 32

// usualHeaderBytes is what the values of most events fit in.
const usualHeaderBytes = 1536

func newHeaderWriter() *headerWriter {
	return &headerWriter{values: make([]byte, 0, usualHeaderBytes)}
}

// end names the value that was appended since the last call.
func (w *headerWriter) end(name string) {
	w.names[w.count], w.ends[w.count] = name, len(w.values)
	w.count++
}

func (w *headerWriter) text(name, value string) {
	w.values = appendPercentEncoded(w.values, value)
	w.end(name)
}

// optionalText leaves out what is empty: NULL and "" are one to the domain.
func (w *headerWriter) optionalText(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *headerWriter) integer(name string, value int64) {
	w.values = strconv.AppendInt(w.values, value, 10)
	w.end(name)
}

func (w *headerWriter) uuid(name string, value uuid.UUID) {
	w.values = appendUUID(w.values, value)
	w.end(name)
}

func (w *headerWriter) time(name string, value time.Time) {
	w.values = value.UTC().AppendFormat(w.values, timeLayout)
	w.end(name)
}

func writeTextArray[T ~string](w *headerWriter, name string, values []T) {
	w.values = append(w.values, '[')
	for i, value := range values {
		if i > 0 {
			w.values = append(w.values, ',')
		}
		w.values = appendEncodedJSONString(w.values, string(value))
	}
	w.values = append(w.values, ']')
	w.end(name)
}

func (w *headerWriter) actor(name string, actor domain.Actor) {
	w.values = append(w.values, "{%22sub%22:"...)
	w.values = appendEncodedJSONString(w.values, actor.Sub)
	w.values = append(w.values, ",%22person%22:"...)
	w.values = appendEncodedJSONString(w.values, actor.Person)
	w.values = append(w.values, '}')
	w.end(name)
}

// receipt writes what encoding/json would write, by the names of eventstore.Receipt,
// at a fifth of the cost; the tests read it back with encoding/json.
func (w *headerWriter) receipt(name string, receipt *eventstore.Receipt) {
	member := func(name string) {
		w.values = append(w.values, ",%22"...)
		w.values = append(w.values, name...)
		w.values = append(w.values, "%22:"...)
	}
	w.values = append(w.values, "{%22command_id%22:%22"...)
	w.values = append(appendUUID(w.values, receipt.CommandID), "%22"...)
	member("org")
	w.values = appendEncodedJSONString(w.values, receipt.Org)
	member("caller")
	w.values = appendEncodedJSONString(w.values, receipt.Caller)
	if receipt.IdempotencyKey != "" {
		member("idempotency_key")
		w.values = appendEncodedJSONString(w.values, receipt.IdempotencyKey)
	}
	if len(receipt.RequestHash) > 0 {
		member("request_hash")
		w.values = append(w.values, "%22"...)
		w.values = base64.StdEncoding.AppendEncode(w.values, receipt.RequestHash)
		w.values = append(w.values, "%22"...)
	}
	member("resource_id")
	w.values = appendEncodedJSONString(w.values, receipt.ResourceID)
	member("created")
	w.values = strconv.AppendBool(w.values, receipt.Created)
	member("version")
	w.values = strconv.AppendInt(w.values, receipt.Version, 10)
	member("first_position")
	w.values = strconv.AppendInt(w.values, receipt.FirstPosition, 10)
	member("position")
	w.values = append(strconv.AppendInt(w.values, receipt.Position, 10), '}')
	w.end(name)
}

func (w *headerWriter) header() nats.Header {
	all := string(w.values)
	values := make([]string, w.count)
	header := make(nats.Header, w.count+1) // one more for the expected sequence
	start := 0
	for i, name := range w.names[:w.count] {
		values[i] = all[start:w.ends[i]]
		header[name] = values[i : i+1 : i+1]
		start = w.ends[i]
	}
	return header
}

// headerReader keeps the first error, so that its users can read on.
type headerReader struct {
	header nats.Header
	err    error
}

func (r *headerReader) has(name string) bool { return len(r.header[name]) > 0 }

func (r *headerReader) fail(name, fault string) {
	if r.err == nil {
		r.err = fmt.Errorf("header %s of the message is %s", name, fault)
	}
}

func (r *headerReader) optionalText(name string) string {
	values := r.header[name]
	if len(values) == 0 {
		return ""
	}
	text, ok := percentDecode(values[0])
	if !ok {
		r.fail(name, "not percent-encoded UTF-8")
	}
	return text
}

func (r *headerReader) text(name string) string {
	text := r.optionalText(name)
	if text == "" {
		r.fail(name, "missing")
	}
	return text
}

func (r *headerReader) integer(name string) int64 {
	value, err := strconv.ParseInt(r.text(name), 10, 64)
	if err != nil {
		r.fail(name, "not an integer")
	}
	return value
}

func (r *headerReader) uuid(name string) uuid.UUID {
	value, err := uuid.Parse(r.text(name))
	if err != nil {
		r.fail(name, "not a UUID")
	}
	return value
}

func (r *headerReader) time(name string) time.Time {
	value, err := time.Parse(timeLayout, r.text(name))
	if err != nil {
		r.fail(name, "not a time with microseconds")
	}
	return value.UTC()
}

func (r *headerReader) bytes(name string) []byte {
	text := r.optionalText(name)
	if text == "" {
		return nil
	}
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(value) == 0 {
		r.fail(name, "not base64")
	}
	return value
}

func (r *headerReader) json(name string, into any) {
	if err := json.Unmarshal([]byte(r.text(name)), into); err != nil {
		r.fail(name, "not the JSON expected")
	}
}

func (r *headerReader) actor(name string) domain.Actor {
	text := r.text(name)
	if plain, ok := splitPlainActor(text); ok {
		return plain
	}
	var actor domain.Actor
	r.json(name, &actor)
	return actor
}

func readTextArray[T ~string](r *headerReader, name string) []T {
	if !r.has(name) {
		return nil
	}
	text := r.text(name)
	if plain, ok := splitPlainArray[T](text); ok {
		return plain
	}
	var values []T
	r.json(name, &values)
	return values
}

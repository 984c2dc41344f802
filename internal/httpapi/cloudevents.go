package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// The media types of events (CloudEvents 1.0, JSON Event Format; WHATWG HTML, §9.2).
const (
	batchMedia  = "application/cloudevents-batch+json"
	streamMedia = "text/event-stream"
)

// sourcePrefix starts the source of every event; the organisation follows.
const sourcePrefix = "urn:hub-backend:"

// CloudEvent is an event of the log in the JSON format of CloudEvents 1.0. Its
// attributes have the names and the texts of the headers of its message in JetStream.
// CloudEvents knows neither lists nor objects among attributes, so those are JSON in a
// text.
type CloudEvent struct {
	SpecVersion     string          `json:"specversion" enum:"1.0" example:"1.0"`
	ID              uuid.UUID       `json:"id" format:"uuid" doc:"Id of the event." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Source          string          `json:"source" format:"uri-reference" doc:"The organisation." example:"urn:hub-backend:acme"`
	Type            string          `json:"type" doc:"What happened: category.event, in the past tense." example:"entity.created"`
	Subject         string          `json:"subject" doc:"The stream: what it happened to." example:"entity:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Time            time.Time       `json:"time" doc:"When it happened."`
	DataContentType string          `json:"datacontenttype" enum:"application/json" example:"application/json"`
	Position        int64           `json:"position" doc:"Place in the log, gapless over all organisations." example:"4711"`
	OrgPosition     int64           `json:"orgposition" doc:"Place among the events of the organisation, gapless from 1." example:"120"`
	Epoch           uuid.UUID       `json:"epoch" format:"uuid" doc:"The history of the log under which it was appended." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	Org             string          `json:"org" example:"acme"`
	StreamVersion   int64           `json:"streamversion" doc:"Version of the stream with this event." example:"1"`
	SchemaVersion   int             `json:"schemaversion" doc:"Which form data has." example:"1"`
	Tags            string          `json:"tags" doc:"JSON list of the tags." example:"[\"entity:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11\"]"`
	Subjects        string          `json:"subjects" doc:"JSON list of the ids of the persons this is about." example:"[]"`
	Actor           string          `json:"actor" doc:"JSON object with sub, the login, and person, the human behind it." example:"{\"sub\":\"ana\",\"person\":\"p-7\"}"`
	OnBehalfOf      string          `json:"onbehalfof,omitempty" doc:"As actor: for whom a service acted."`
	Reason          string          `json:"reason,omitempty" doc:"Hub-Reason of the request; ciphertext where the event has subjects."`
	RequestID       string          `json:"requestid,omitempty"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	CausationID     string          `json:"causationid,omitempty"`
	CommandID       uuid.UUID       `json:"commandid" format:"uuid"`
	RecordedAt      time.Time       `json:"recordedat" doc:"When it was appended; never decreases."`
	LeafHash        []byte          `json:"leafhash" doc:"SHA-256 of its leaf in the log's Merkle tree."`
	Data            json.RawMessage `json:"data" doc:"What happened, as the event catalogue describes it for the type and schemaversion."`
}

func cloudEventOf(e *domain.Event) CloudEvent {
	c := CloudEvent{
		SpecVersion: "1.0", ID: e.ID, Source: sourcePrefix + e.Org, Type: e.Type, Subject: string(e.Stream), Time: e.OccurredAt.UTC(),
		DataContentType: "application/json", Position: e.Position, OrgPosition: e.OrgPosition, Epoch: e.Epoch, Org: e.Org,
		StreamVersion: e.Version, SchemaVersion: e.SchemaVersion, Tags: textOf(notNil(e.Tags)), Subjects: textOf(notNil(e.Subjects)),
		Actor: textOf(e.Actor), Reason: e.Reason, RequestID: e.RequestID, CorrelationID: e.CorrelationID, CausationID: e.CausationID,
		CommandID: e.CommandID, RecordedAt: e.RecordedAt.UTC(), LeafHash: e.LeafHash, Data: e.Data,
	}
	if e.OnBehalfOf != nil {
		c.OnBehalfOf = textOf(*e.OnBehalfOf)
	}
	return c
}

// notNil makes an empty list of none.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// textOf is a value of ours as JSON in a text; those it is used for always are JSON.
func textOf(value any) string {
	var text bytes.Buffer
	if err := writeJSON(&text, value); err != nil {
		return ""
	}
	return text.String()
}

// writeJSON writes a value without what encoding/json does for HTML, and without a line
// break, at the end or within.
func writeJSON(to *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	to.Truncate(to.Len() - 1)
	return nil
}

// writeBatch writes events as a JSON batch.
func writeBatch(to *bytes.Buffer, events []domain.Event) error {
	to.WriteByte('[')
	for i := range events {
		if i > 0 {
			to.WriteString(",\n")
		}
		if err := writeJSON(to, cloudEventOf(&events[i])); err != nil {
			return err
		}
	}
	to.WriteByte(']')
	return nil
}

// describeEvents says in which media type a route sends events.
func (r *route) describeEvents(api *huma.OpenAPI, op *huma.Operation) {
	event := api.Components.Schemas.Schema(reflect.TypeFor[CloudEvent](), true, "")
	answer := &huma.Response{Description: http.StatusText(r.Status), Content: map[string]*huma.MediaType{
		batchMedia: {Schema: &huma.Schema{Type: huma.TypeArray, Items: event}},
	}}
	if r.Path == streamPath {
		api.Components.Schemas.Schema(reflect.TypeFor[StreamEnd](), true, "")
		answer = &huma.Response{
			Description: "Server-sent events (WHATWG HTML, §9.2) without an end. Of an event, id is the position and data a CloudEvent. " +
				"An event with the name end is the last one; its data is a StreamEnd. A comment comes every 15 s; an id may come with it, which moves Last-Event-ID.",
			Content: map[string]*huma.MediaType{streamMedia: {Schema: &huma.Schema{Type: huma.TypeString}, Example: exampleStream}},
		}
	}
	op.Responses[strconv.Itoa(r.Status)] = answer
}

// exampleStream is the beginning of a stream.
const exampleStream = "retry: 2500\n\nid: 4711\ndata: " + exampleEvent + "\n\n: heartbeat\nid: 4720\n\n"

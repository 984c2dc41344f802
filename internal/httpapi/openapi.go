package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reactdjango-hub/backend/internal/strictjson"
	"github.com/reactdjango-hub/backend/readmodels"
)

// apiVersion is the version of the API, not of the build: the document must be the
// same for everyone who has this source.
const apiVersion = "1.0.0"

// setHuma sets what huma keeps in variables of its package: names in bodies are
// matched exactly, and a list is never null.
var setHuma = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
})

// newHuma makes a huma API without what huma would add by itself: links to schemas
// made from the Host header, docs pages that load scripts from elsewhere, routes of
// its own.
func newHuma(routes huma.Adapter) huma.API {
	setHuma()
	config := huma.DefaultConfig("Hub Backend", apiVersion)
	config.CreateHooks = nil
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.Transformers = []huma.Transformer{ownErrors}
	// Numbers become doubles only where huma compares a body with its schema;
	// strictjson.Check has made sure that they fit, and handlers get the raw text.
	format := huma.Format{Marshal: marshal, Unmarshal: strictjson.Read}
	config.Formats = map[string]huma.Format{"application/json": format, "json": format}
	config.Info.Description = description
	config.Security = []map[string][]string{{bearerScheme: {}}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerScheme: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "Access token of the identity service, for the audience hub-backend."},
	}
	config.Tags = []*huma.Tag{
		{Name: "Entity types", Description: "What kinds of things there are, and which attributes they may have."},
		{Name: "Entities", Description: "The things themselves."},
		{Name: "Accounts", Description: "What money is on, with statements and balances at any point in time."},
		{Name: "Transactions", Description: "Double entry: money moves by lines that balance, with approvals and closed periods."},
		{Name: "Events", Description: "What has happened, as it is recorded: to copy it, or to follow it."},
		{Name: "Organization", Description: "The organisation as a whole, and the caller."},
		{Name: "Operations", Description: "How far the views and the copy in JetStream are, what waits, and the jobs that mend it. All organisations share them, so these say nothing about any organisation."},
		{Name: "Operation", Description: "For whoever runs the system."},
	}
	return huma.NewAPI(config, routes)
}

// marshal writes an answer; one that was rendered for its hash is not written twice.
func marshal(w io.Writer, value any) error {
	if done, ok := value.(interface{ written() []byte }); ok {
		_, err := w.Write(done.written())
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// Spec is the OpenAPI 3.1 document of the whole API, whichever routes a process
// serves: indented JSON, the same bytes each time.
func Spec() ([]byte, error) {
	described := &API{}
	api := newHuma(describing{})
	for _, line := range described.routes() {
		line.add(api)
	}
	// huma adds its own error model even where every error is described otherwise.
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
	describeExpansion(api.OpenAPI().Components.Schemas)
	return indented(api.OpenAPI())
}

// indented writes a document for people, too, and for diffs.
func indented(document any) ([]byte, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	if err := json.Indent(&lines, text, "", "  "); err != nil {
		return nil, err
	}
	lines.WriteByte('\n')
	return lines.Bytes(), nil
}

// describeExpansion says what a member is when it was expanded.
func describeExpansion(schemas huma.Registry) {
	name := schemas.Map()["Entity"].Properties["type"]
	plain := *name
	name.Type, name.Examples = "", nil
	name.OneOf = []*huma.Schema{&plain, schemas.Schema(reflect.TypeFor[readmodels.EntityType](), true, "")}
}

// describing is an adapter for an API that is only described.
type describing struct{}

// Handle finishes the description. Part of huma.Adapter.
func (describing) Handle(op *huma.Operation, _ func(huma.Context)) {
	line := op.Metadata[routeMember].(*route)
	line.finish(op)
	if line.LinesOf != nil {
		op.RequestBody.Required = true
	}
}

// ServeHTTP does nothing. Part of huma.Adapter.
func (describing) ServeHTTP(http.ResponseWriter, *http.Request) {}

// describe adds to an operation what huma cannot see in the types of its input and
// output, before huma adds the rest.
func (r *route) describe(api *huma.OpenAPI, op *huma.Operation) {
	op.Responses = map[string]*huma.Response{}
	if r.LinesOf != nil {
		items := api.Components.Schemas.Schema(r.LinesOf, true, "")
		// Not required where huma looks, which would look for it in vain.
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: items}},
		}}
	}
	for _, status := range r.refusals() {
		op.Responses[strconv.Itoa(status)] = r.refusal(api.Components, status)
	}
	switch r.Kind {
	case command:
		parameters := commandParameters
		if r.LinesOf != nil { // there is no one resource
			parameters = manyParameters
		}
		op.Parameters = append(op.Parameters, shared(api.Components, parameters)...)
		switch {
		case r.Creates:
			op.Responses["201"] = &huma.Response{Description: "Created; the answer is as for 200, with a Location."}
		case r.Status == http.StatusCreated, r.Status == http.StatusAccepted:
			op.Responses["200"] = &huma.Response{Description: "What would happen, to a dry run."}
		}
	case query:
		op.Parameters = append(op.Parameters, shared(api.Components, queryHeaders)...)
		op.Responses["304"] = &huma.Response{Description: "Not changed since the entity tag in If-None-Match."}
		op.Parameters = append(op.Parameters, r.filterParameters()...)
		r.describeJobErrors(api, op)
	case personal:
		op.Parameters = append(op.Parameters, shared(api.Components, []*huma.Param{requestIDHeader})...)
	case feed:
		op.Parameters = append(op.Parameters, shared(api.Components, []*huma.Param{requestIDHeader})...)
		r.describeEvents(api, op)
	case operations:
		parameters := []*huma.Param{requestIDHeader}
		if r.writes() {
			parameters = operationParameters
		}
		op.Parameters = append(op.Parameters, shared(api.Components, parameters)...)
	case open, probe, operator, static:
		op.Security = []map[string][]string{}
		if r.Path == healthPath {
			op.Responses["503"] = &huma.Response{Description: "Unhealthy; the report says why."}
		}
	}
}

// finish adds to an operation what depends on what huma has added.
func (r *route) finish(op *huma.Operation) {
	r.body = op.RequestBody != nil
	r.bodyOptional = r.body && !op.RequestBody.Required
	if r.Method != http.MethodGet {
		op.Extensions = map[string]any{"x-max-body-bytes": r.maxBody()}
	}
	success := op.Responses[strconv.Itoa(r.Status)]
	for _, status := range []string{"200", "201"} {
		if other := op.Responses[status]; other != nil && other.Content == nil && r.Kind == command {
			other.Content, other.Headers = success.Content, success.Headers
		}
	}
	if example, found := answerExamples[r.ID]; found {
		if r.Kind == feed {
			success.Content[batchMedia].Example = json.RawMessage(example)
		} else {
			success.Content["application/json"].Example = json.RawMessage(example)
		}
	}
	if r.Path == healthPath {
		op.Responses["503"].Content = success.Content
	}
	if !r.body {
		return
	}
	op.RequestBody.Description = fmt.Sprintf("At most %d KiB.", r.maxBody()>>10)
	content := op.RequestBody.Content["application/json"]
	if example, found := requestExamples[r.ID]; found {
		content.Example = json.RawMessage(example)
	}
	for _, media := range r.Media {
		op.RequestBody.Content[media] = content
	}
}

// refusals are the statuses other than of success that a route can answer.
func (r *route) refusals() []int {
	found := []int{400, 401, 403, 409, 422, 429, 500, 503}
	switch r.Kind {
	case open, static:
		return nil
	case probe:
		return []int{http.StatusServiceUnavailable}
	case personal:
		found = []int{400, 401, 422, 429, 500, 503}
		if r.Method != http.MethodGet {
			found = append(found, 413, 415)
		}
	case operator:
		found = []int{400, 422, 500}
		if r.Method != http.MethodGet {
			found = append(found, 413, 415)
		}
	case command:
		found = append(found, 412, 413, 415, 504)
	case operations:
		if r.writes() {
			found = append(found, 413, 415, 504)
		}
	case query, feed:
	}
	if strings.Contains(r.Path, "{") && !r.Creates {
		found = append(found, 404)
	}
	return found
}

// refusal refers to the description of a refusal, which all routes of one kind share.
func (r *route) refusal(components *huma.Components, status int) *huma.Response {
	name := strings.ReplaceAll(http.StatusText(status), " ", "") + kindNames[r.Kind]
	if components.Responses == nil {
		components.Responses = map[string]*huma.Response{}
	}
	if _, described := components.Responses[name]; !described {
		schema := components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
		components.Responses[name] = &huma.Response{
			Description: http.StatusText(status),
			Headers:     refusalHeaders(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schema, Example: problemExample(r.Kind, status)}},
		}
	}
	return &huma.Response{Ref: "#/components/responses/" + name}
}

// kindNames end the names of shared descriptions.
var kindNames = map[kind]string{command: "OfCommand", query: "OfQuery", feed: "OfFeed", personal: "OfPersonal", open: "", probe: "OfProbe", operator: "OfOperator", operations: "OfOperations"}

// shared refers to parameters that many routes have.
func shared(components *huma.Components, parameters []*huma.Param) []*huma.Param {
	if components.Parameters == nil {
		components.Parameters = map[string]*huma.Param{}
	}
	references := make([]*huma.Param, len(parameters))
	for i, parameter := range parameters {
		components.Parameters[parameter.Name] = parameter
		references[i] = &huma.Param{Ref: "#/components/parameters/" + parameter.Name}
	}
	return references
}

func refusalHeaders(status int) map[string]*huma.Param {
	text := &huma.Schema{Type: huma.TypeString}
	switch status {
	case http.StatusUnauthorized:
		return map[string]*huma.Param{"WWW-Authenticate": {Description: "How to authenticate (RFC 6750).", Schema: text}}
	case http.StatusTooManyRequests:
		return map[string]*huma.Param{
			"Retry-After":      {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}},
			"RateLimit":        {Description: "Requests left, and seconds until all are there again; sent with every answer while requests are limited.", Schema: text},
			"RateLimit-Policy": {Description: "How many requests there are in how many seconds.", Schema: text},
		}
	case http.StatusServiceUnavailable:
		return map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	}
	return nil
}

// problemExample is the first catalogued problem of a status that a kind of route has.
func problemExample(of kind, status int) any {
	for _, entry := range catalogue {
		kind := statuses[entry.kind]
		if kind.status != status || entry.kinds != nil && !entry.kinds[of] {
			continue
		}
		return Problem{
			Type: problemType + entry.code, Title: kind.title, Status: status, Detail: entry.meaning,
			Code: entry.code, RequestID: "0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11",
		}
	}
	return nil
}

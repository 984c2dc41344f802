package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string `json:"summary"`
		Description string `json:"description"`
		Security    *[]any `json:"security"`
		MaxBody     int64  `json:"x-max-body-bytes"`
		Parameters  []struct{ Name, In string }
		RequestBody *struct {
			Content map[string]struct{ Schema, Example json.RawMessage }
		} `json:"requestBody"`
		Responses map[string]describedResponse
	}
	Components struct {
		Responses       map[string]describedResponse
		Parameters      map[string]any
		Schemas         map[string]any
		SecuritySchemes map[string]any `json:"securitySchemes"`
	}
}

type describedResponse struct {
	Ref         string `json:"$ref"`
	Description string
	Content     map[string]struct{ Schema, Example json.RawMessage }
}

func spec(t *testing.T) ([]byte, document) {
	t.Helper()
	raw, err := Spec()
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return raw, d
}

func TestTheSpecIsAlwaysTheSameAndServed(t *testing.T) {
	t.Parallel()
	first, _ := spec(t)
	second, _ := spec(t)
	served := newEdge(t, nil).call("GET", "/api/openapi.json", "", "Authorization", "")
	if !bytes.Equal(first, second) || !bytes.Equal(first, served.Body) {
		t.Error("two documents differ")
	}
	if served.Header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", served.Header.Get("Content-Type"))
	}
}

func TestTheSpecIsComplete(t *testing.T) {
	t.Parallel()
	raw, d := spec(t)
	if d.OpenAPI != "3.1.0" || d.Components.SecuritySchemes[bearerScheme] == nil {
		t.Errorf("openapi %q, schemes %v", d.OpenAPI, d.Components.SecuritySchemes)
	}
	ids := map[string]bool{}
	for _, line := range (&API{}).routes() {
		op, found := d.Paths[line.Path][strings.ToLower(line.Method)]
		name := line.Method + " " + line.Path
		if !found || op.OperationID != line.ID || op.Summary == "" || op.Description == "" || ids[op.OperationID] {
			t.Errorf("%s: operation %q, summary %q, description %q", name, op.OperationID, op.Summary, op.Description)
			continue
		}
		ids[op.OperationID] = true
		if anonymous := op.Security != nil && len(*op.Security) == 0; anonymous != (line.Kind == open || line.Kind == probe || line.Kind == operator) {
			t.Errorf("%s: security %v", name, op.Security)
		}
		success := op.Responses[fmt.Sprint(line.Status)]
		if len(success.Content) == 0 {
			t.Errorf("%s: no media type of success", name)
		}
		for media, content := range success.Content {
			if content.Example == nil || content.Schema == nil {
				t.Errorf("%s: no schema or no example of success as %s", name, media)
			}
		}
		if op.RequestBody != nil {
			for media, content := range op.RequestBody.Content {
				if content.Example == nil || content.Schema == nil {
					t.Errorf("%s: no schema or no example of a %s body", name, media)
				}
			}
		}
		for _, status := range line.refusals() {
			shared := d.Components.Responses[strings.TrimPrefix(op.Responses[fmt.Sprint(status)].Ref, "#/components/responses/")]
			refusal := shared.Content["application/problem+json"]
			if refusal.Schema == nil || refusal.Example == nil {
				t.Errorf("%s: %d is not described", name, status)
			}
		}
	}
	total := 0
	for _, methods := range d.Paths {
		total += len(methods)
	}
	if total != len(ids) {
		t.Errorf("%d operations described, %d routes", total, len(ids))
	}
	for _, foreign := range []string{"ErrorModel", "$schema", "ErrorDetail"} {
		if bytes.Contains(raw, []byte(foreign)) {
			t.Errorf("%s is in the document", foreign)
		}
	}
}

func TestReferencesInTheSpecResolve(t *testing.T) {
	t.Parallel()
	raw, d := spec(t)
	references := regexp.MustCompile(`"\$ref": "#/components/([a-z]+)/([^"]+)"`).FindAllStringSubmatch(string(raw), -1)
	for _, reference := range references {
		kind, name := reference[1], reference[2]
		_, response := d.Components.Responses[name]
		found := kind == "schemas" && d.Components.Schemas[name] != nil || kind == "parameters" && d.Components.Parameters[name] != nil || kind == "responses" && response
		if !found {
			t.Errorf("there is no %s/%s", kind, name)
		}
	}
	if len(references) < 50 {
		t.Errorf("only %d references found: the search is broken", len(references))
	}
}

// Examples of bodies pass the same checks as bodies do: the loop of this edge
// refuses what is well formed with shutting_down.
func TestRequestExamplesWork(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, line := range e.api.routes() {
		example, found := requestExamples[line.ID]
		if !found || line.Kind != command {
			continue
		}
		path := strings.NewReplacer("{id}", "0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "{name}", "customer").Replace(line.Path)
		if line.ID == "startBulkUpdate" { // which has read the views before it asks the loop
			if answer := newSystem(t).call(line.Method, path, example); answer.Status != 202 {
				t.Errorf("%s: %d %s", line.ID, answer.Status, answer.Body)
			}
			continue
		}
		e.call(line.Method, path, example).expect(503, "shutting_down")
	}
}

// Command breaking proves that the check for what breaks clients still looks: it shows
// oasdiff documents that break those of the last release, each of which must be found by the
// rule that it stands for and by no other, and documents that only add, which must pass.
//
//	breaking OASDIFF RELEASED SEVERITY
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// object is a part of the document.
type object = map[string]any

// document is the released one, read anew for each plant.
type document struct{ root object }

// at goes down by names.
func (d document) at(names ...string) object {
	found := d.root
	for _, name := range names {
		found = found[name].(object)
	}
	return found
}

func (d document) schema(name string) object { return d.at("components", "schemas", name) }
func (d document) properties(name string) object {
	return d.at("components", "schemas", name, "properties")
}
func (d document) list() object   { return d.at("paths", "/api/v1/entities", "get") }
func (d document) create() object { return d.at("paths", "/api/v1/entities", "post") }

// parameter is one of the list of entities.
func (d document) parameter(name string) object {
	parameters := d.list()["parameters"].([]any)
	return parameters[slices.IndexFunc(parameters, func(p any) bool { return p.(object)["name"] == name })].(object)
}

// plant is a change of the document, and the rule that finds it; none for an addition.
type plant struct {
	change func(document)
	rule   string
}

var plants = []plant{
	{func(d document) { delete(d.at("paths"), "/api/v1/me") }, "api-path-removed-without-deprecation"},
	{func(d document) { delete(d.at("paths", "/api/v1/entities"), "post") }, "api-removed-without-deprecation"},
	{func(d document) {
		delete(d.properties("EntityPage"), "next_cursor")
		remove(d.schema("EntityPage"), "required", "next_cursor")
	}, "response-required-property-removed"},
	{func(d document) { delete(d.properties("EntityPage"), "count") }, "response-optional-property-removed"},
	{func(d document) { d.properties("Entity")["version"] = object{"type": "string"} }, "response-property-type-changed"},
	{func(d document) { remove(d.parameter("status")["schema"].(object), "enum", "archived") }, "request-parameter-enum-value-removed"},
	{func(d document) { d.parameter("type")["required"] = true }, "request-parameter-became-required"},
	{func(d document) { d.parameter("tag")["name"] = "label" }, "request-parameter-removed"},
	{func(d document) { d.parameter("limit")["schema"].(object)["maximum"] = 100 }, "request-parameter-max-decreased"},
	{func(d document) { delete(d.properties("NewEntity"), "tags") }, "request-property-removed"},
	{func(d document) { add(d.schema("NewEntity"), "required", "key") }, "request-property-became-required"},
	{func(d document) {
		d.properties("NewEntity")["new"] = object{"type": "string"}
		add(d.schema("NewEntity"), "required", "new")
	}, "new-required-request-property"},
	{func(d document) {
		delete(d.at("paths", "/api/v1/entities", "get", "responses", "200", "headers"), "Hub-Position")
	}, "optional-response-header-removed"},
	{func(d document) { delete(d.create()["responses"].(object), "201") }, "response-success-status-removed"},

	{func(d document) {
		d.at("paths")["/api/v1/new"] = object{"get": object{"operationId": "new", "responses": object{"200": object{"description": "New"}}}}
	}, ""},
	{func(d document) { d.properties("EntityPage")["new"] = object{"type": "string"} }, ""},
	{func(d document) { d.properties("NewEntity")["new"] = object{"type": "string"} }, ""},
	{func(d document) {
		add(d.list(), "parameters", object{"name": "new", "in": "query", "schema": object{"type": "string"}})
	}, ""},
	{func(d document) { d.list()["responses"].(object)["418"] = object{"description": "New"} }, ""},
}

func remove(from object, list string, value any) {
	from[list] = slices.DeleteFunc(from[list].([]any), func(v any) bool { return v == value })
}

func add(to object, list string, value any) { to[list] = append(to[list].([]any), value) }

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: breaking OASDIFF RELEASED SEVERITY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(oasdiff, released, severity string) error {
	text, err := os.ReadFile(released)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "breaking")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // it is the system's to clean
	for number, p := range plants {
		var d document
		if err := json.Unmarshal(text, &d.root); err != nil {
			return err
		}
		p.change(d)
		changed, err := json.Marshal(d.root)
		if err != nil {
			return err
		}
		path := filepath.Join(folder, fmt.Sprintf("%d.json", number))
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			return err
		}
		rules, err := found(oasdiff, severity, released, path)
		if err != nil {
			return err
		}
		if got := strings.Join(rules, ", "); got != p.rule {
			return fmt.Errorf("change %d: found by the rules %q instead of %q", number, got, p.rule)
		}
	}
	return nil
}

// found are the rules by which a document breaks clients of another.
func found(oasdiff, severity, released, changed string) (rules []string, err error) {
	command := exec.CommandContext(context.Background(), oasdiff, "breaking", "--fail-on", "ERR", "--severity-levels", severity, "--format", "json", released, changed)
	command.Stderr = os.Stderr
	output, err := command.Output()
	var refused *exec.ExitError
	if err != nil && (!errors.As(err, &refused) || refused.ExitCode() != 1) {
		return nil, err
	}
	var breaks []struct{ ID string }
	if err := json.Unmarshal(output, &breaks); err != nil {
		return nil, fmt.Errorf("what oasdiff says cannot be read: %w", err)
	}
	if (refused != nil) != (len(breaks) > 0) {
		return nil, fmt.Errorf("oasdiff names %d breaks and ends with %v", len(breaks), command.ProcessState)
	}
	for _, b := range breaks {
		rules = append(rules, b.ID)
	}
	slices.Sort(rules)
	return slices.Compact(rules), nil
}

package httpapi

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// Each request has one line: its route and what became of it. Whatever else callers send
// is planted here, and must be in no line, no metric and no refusal.
func TestTheAccessLogTellsRoutesAndNothingThatWasSent(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	log := &logged{}
	o := Options{
		Loop: stoppedLoop(t), Verifier: e.issuer.verifier, RequestHashKey: []byte("key"), TicketKey: make([]byte, 32), AllowedHosts: []string{"hub.test"},
		Log: slog.New(slog.NewJSONHandler(log, nil)), Probes: true,
	}
	var err error
	if e.api, err = New(o); err != nil {
		t.Fatal(err)
	}
	e.handler = e.api.Handler()
	const canary = "canary-4711"
	answers := []*reply{
		e.call("POST", "/api/v1/entities?"+canary+"="+canary, `{"type":"`+canary+`","attributes":{"password":"`+canary+`"}}`,
			"X-Request-Id", "mine", "Hub-Reason", canary, "Idempotency-Key", canary, "Cookie", canary, "User-Agent", canary, "Referer", canary),
		e.call("POST", "/api/v1/entities", `{"type":"`+canary+`","attributes":{"`+canary+`":"`+canary+`"`, "X-Request-Id", "mine"),
		e.call("GET", "/api/v1/"+canary, "", "X-Request-Id", "mine"),
		e.call("CANARY", "/api/v1/entities", "", "X-Request-Id", "mine"),
		e.call("POST", "/api/v1/entities", `{}`, "Authorization", "Bearer "+canary, "X-Request-Id", "mine"),
	}
	e.call("GET", "/livez", "")
	var lines []map[string]any
	for line := range strings.Lines(log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == "request" {
			lines = append(lines, fields)
		}
	}
	if len(lines) != len(answers) {
		t.Fatalf("%d lines for %d requests:\n%s", len(lines), len(answers), log)
	}
	for i, line := range lines {
		if line["request_id"] != "mine" || int(line["status"].(float64)) != answers[i].Status || line["ms"] == nil || line["route"] == "" {
			t.Errorf("line %d: %v, status %d", i, line, answers[i].Status)
		}
		// The first is told which parameter is unknown, by the name it gave.
		if i > 0 && strings.Contains(strings.ToLower(string(answers[i].Body)), canary) {
			t.Errorf("the answer repeats what was sent: %s", answers[i].Body)
		}
	}
	if lines[0]["route"] != "/api/v1/entities" || lines[0]["method"] != "POST" || lines[0]["org"] != "acme" || lines[2]["route"] != "none" || lines[3]["method"] != "other" {
		t.Errorf("lines: %v", lines)
	}
	if strings.Contains(strings.ToLower(log.String()), "canary") {
		t.Errorf("what was sent is in the log:\n%s", log)
	}
}

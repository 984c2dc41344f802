package domaintest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
)

var update = flag.Bool("update", false, "write the golden files of the current schema versions")

// Events are those of an area, with all that folds them.
type Events struct {
	Kinds []domain.EventKind
	// Folds are the states that must take every event; none where nothing is folded.
	Folds domain.Folds
	// Stream is one that such events are on.
	Stream domain.Tag
	// Samples has one or more payloads of every event type, with all fields set. What
	// stands in testdata/events was written by some version of this program and must
	// be read for ever: change a file only by adding a schema version.
	Samples map[string][]domain.Payload
}

// Golden holds the samples against testdata/events, and reads every file there.
func (e Events) Golden(t *testing.T) {
	t.Helper()
	kinds := map[string]domain.EventKind{}
	for _, kind := range e.Kinds {
		kinds[kind.Type] = kind
		if len(e.Samples[kind.Type]) == 0 {
			t.Errorf("%s has no sample", kind.Type)
		}
		for i, payload := range e.Samples[kind.Type] {
			compareGolden(t, kind, goldenPath(kind.Type, kind.SchemaVersion, i), payload)
		}
	}
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		e.decodeGolden(t, kinds, file)
	}
}

// goldenPath is testdata/events/<type>.v<schema version>[.<n>].json.
func goldenPath(eventType string, schemaVersion, i int) string {
	suffix := ""
	if i > 0 {
		suffix = fmt.Sprintf(".%d", i+1)
	}
	return filepath.Join("testdata", "events", fmt.Sprintf("%s.v%d%s.json", eventType, schemaVersion, suffix))
}

// compareGolden holds what is written today against the file, and reads it back.
func compareGolden(t *testing.T, kind domain.EventKind, path string, payload domain.Payload) {
	t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *update {
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // a file of the tree, for all to read
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if !bytes.Equal(golden, data) {
		t.Errorf("%s is written differently now:\n%swas:\n%sThe log holds events of this form: add a schema version with an upcaster.", kind.Type, data, golden)
	}
	back, err := kind.Decode(kind.SchemaVersion, golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, payload) {
		t.Errorf("%s reads back as %#v, want %#v", path, back, payload)
	}
}

// decodeGolden reads a file of any schema version.
func (e Events) decodeGolden(t *testing.T, kinds map[string]domain.EventKind, path string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	end := max(0, strings.LastIndex(name, ".v")) // a type may hold that too, as transaction.voided
	eventType, rest := name[:end], strings.TrimPrefix(name[end:], ".v")
	var schemaVersion int
	if _, err := fmt.Sscanf(rest, "%d", &schemaVersion); err != nil {
		t.Fatalf("%s has no schema version in its name", path)
	}
	kind, known := kinds[eventType]
	if !known {
		t.Fatalf("%s: the event type is not known any more, but the log holds it", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := kind.Decode(schemaVersion, data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	// Folding must take it too.
	for _, state := range e.Folds {
		if state.Evolve(domain.Fact{Stream: e.Stream, Payload: payload}).Size() <= 0 {
			t.Errorf("%s: a state without size", path)
		}
	}
}

// FuzzDecode holds that any bytes, once decoded, fold, and are written and read back the
// same.
func (e Events) FuzzDecode(f *testing.F) {
	f.Helper()
	for _, payloads := range e.Samples {
		for _, payload := range payloads {
			data, err := json.Marshal(payload)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range e.Kinds {
			payload, err := kind.Decode(kind.SchemaVersion, data)
			if err != nil {
				continue
			}
			for _, state := range e.Folds {
				fact := domain.Fact{Stream: e.Stream, Payload: payload}
				state.Evolve(fact).Evolve(fact).Size()
			}
			written, err := json.Marshal(payload)
			if err != nil {
				t.Fatalf("%s: %v", kind.Type, err)
			}
			back, err := kind.Decode(kind.SchemaVersion, written)
			if err != nil {
				t.Fatalf("%s: written as %s: %v", kind.Type, written, err)
			}
			if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, written) {
				t.Fatalf("%s: %s became %s (%v)", kind.Type, written, again, err)
			}
		}
	})
}

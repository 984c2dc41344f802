package entities_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// processes are two loops on one log, as two processes have.
type processes struct {
	url   string
	loops [2]*commands.Loop
}

func newProcesses(t *testing.T) processes {
	t.Helper()
	return newProcessesOn(t, hubtest.Database(t, hubtest.Log()))
}

// newProcessesOn starts two that know nothing yet.
func newProcessesOn(t *testing.T, url string) processes {
	t.Helper()
	p := processes{url: url}
	for i := range p.loops {
		p.loops[i] = commands.New(commands.Options{
			Store: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))), Codec: eventstore.NewCodec(entity.Kinds()...),
			Folds: entity.Folds(), Log: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.loops[i].Run(ctx) })
		t.Cleanup(func() { stop(); running.Wait() })
	}
	return p
}

// events are those of the log, in order.
func (p processes) events(t *testing.T) (all []domain.Event) {
	t.Helper()
	store := eventstore.New(hubtest.Pool(t, p.url, string(eventstore.RoleCommand)))
	for after := int64(0); ; after = all[len(all)-1].Position {
		events, err := store.Read(t.Context(), "acme", eventstore.Query{After: after})
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
	}
}

func (p processes) submit(ctx context.Context, i int, d domain.Decider) error {
	meta := domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{"editor"}}
	if at, conditional := d.(atVersion); conditional {
		meta.IfMatch = &at.version
	}
	_, err := p.loops[i%len(p.loops)].Submit(ctx, commands.Submission{Decider: d, Meta: meta})
	return err
}

// atVersion is a command that is sent with If-Match.
type atVersion struct {
	domain.Decider
	version int64
}

func (p processes) must(t *testing.T, deciders ...domain.Decider) {
	t.Helper()
	for i, d := range deciders {
		if err := p.submit(t.Context(), i, d); err != nil {
			t.Fatalf("%T: %v", d, err)
		}
	}
}

func (p processes) define(t *testing.T) {
	t.Helper()
	p.must(t, entities.DefineEntityType{Name: "person", Schema: json.RawMessage(`{}`), Relationships: []entity.RelationshipKind{
		{Kind: "boss", Target: "person", OnArchive: "restrict", Acyclic: true}, {Kind: "friend", Target: "person", OnArchive: "detach"},
	}})
}

func (p processes) people(t *testing.T, n int) []uuid.UUID {
	t.Helper()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
		p.must(t, entities.CreateEntity{ID: ids[i], Type: "person"})
	}
	return ids
}

// together submits each decider at once, by turns to one process and the other, and
// returns the codes of their refusals, "" for none.
func (p processes) together(t *testing.T, deciders ...domain.Decider) []string {
	t.Helper()
	codes := make([]string, len(deciders))
	start := make(chan struct{})
	var group sync.WaitGroup
	for i, d := range deciders {
		group.Go(func() {
			<-start
			err := p.submit(t.Context(), i, d)
			if refusal := problem.Of(err); refusal != nil {
				codes[i] = refusal.Code
			} else if err != nil {
				t.Errorf("%T: %v", d, err)
			}
		})
	}
	close(start)
	group.Wait()
	return codes
}

// Of patches of one version one wins, and the others are told so; without a version none is
// refused, and nothing that any of them says is lost.
func TestPatchesAtOnce(t *testing.T) {
	t.Parallel()
	const racers = 6
	p := newProcesses(t)
	p.define(t)
	for range 25 {
		id := p.people(t, 1)[0]
		var conditional, merged []domain.Decider
		want := map[string]json.RawMessage{}
		for n := range racers {
			name := fmt.Sprint("a", n)
			merged = append(merged, entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"attributes":{"` + name + `":1,"deep":{"` + name + `":1}}}`)})
			conditional = append(conditional, atVersion{entities.PatchEntity{ID: id, Patch: json.RawMessage(`{"tags":["` + name + `"]}`)}, 1})
			want[name] = json.RawMessage("1")
		}
		won := -1
		for n, code := range p.together(t, conditional...) {
			switch {
			case code == "" && won < 0:
				won = n
			case code != "version_conflict":
				t.Fatalf("%d: %q, and %d has won", n, code, won)
			}
		}
		for _, code := range p.together(t, merged...) {
			if code != "" {
				t.Fatalf("refused: %s", code)
			}
		}
		want["deep"], _ = json.Marshal(want)
		var state entity.Entity
		for _, e := range p.events(t) {
			if fact, err := eventstore.NewCodec(entity.Kinds()...).Fact(e); e.Stream == entity.Stream(id) && err == nil {
				state = state.Evolve(fact).(entity.Entity)
			}
		}
		got, _ := json.Marshal(state.Attributes)
		if expected, _ := json.Marshal(want); !bytes.Equal(got, expected) || won < 0 || !slices.Equal(state.Tags, []string{fmt.Sprint("a", won)}) {
			t.Fatalf("%s and %v, want %s and those of %d", got, state.Tags, expected, won)
		}
	}
}

func boss(of, is uuid.UUID) domain.Decider {
	return entities.AddRelationship{ID: of, Kind: "boss", TargetID: is}
}

// Relationships that are fine each, and together a circle: one is refused, whoever is
// first, and without it there is none.
func TestTwoRelationshipsThatTogetherAreACircle(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.define(t)
	for range 40 {
		ids := p.people(t, 4)
		// 0 → 1 ⇢ 2 → 3 ⇢ 0, the dotted ones at once.
		p.must(t, boss(ids[0], ids[1]), boss(ids[2], ids[3]))
		codes := p.together(t, boss(ids[1], ids[2]), boss(ids[3], ids[0]))
		if (codes[0] == "") == (codes[1] == "") || codes[0]+codes[1] != "relationship_cycle" {
			t.Fatalf("got %q, want one relationship and one refused circle", codes)
		}
	}
}

// A target is archived while somebody begins to refer to it: either the reference comes
// too late, or it keeps the target in use, or it is removed with it.
func TestReferringToWhatIsBeingArchived(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.define(t)
	for range 40 {
		ids := p.people(t, 3)
		archive := entities.ArchiveEntity{ID: ids[0]}
		codes := p.together(t, boss(ids[1], ids[0]), archive)
		if late, kept := codes[0] == "conflict" && codes[1] == "", codes[0] == "" && codes[1] == "relationship_restricted"; late == kept {
			t.Fatalf("got %q", codes)
		}
		if codes[1] != "" {
			p.must(t, entities.RemoveRelationship{ID: ids[1], Kind: "boss", TargetID: ids[0]})
		} else {
			p.must(t, entities.RestoreEntity{ID: ids[0]})
		}
		codes = p.together(t, entities.AddRelationship{ID: ids[2], Kind: "friend", TargetID: ids[0]}, archive)
		if codes[1] != "" || codes[0] != "" && codes[0] != "conflict" {
			t.Fatalf("got %q", codes)
		}
		// Removed with it or never made: either way it is not there.
		err := p.submit(t.Context(), 0, entities.RemoveRelationship{ID: ids[2], Kind: "friend", TargetID: ids[0]})
		if refusal := problem.Of(err); refusal == nil || refusal.Code != "not_found" {
			t.Fatalf("got %v, want no such relationship", err)
		}
	}
}

// A source comes back while its target goes: never does one in use refer, by a kind that
// restricts, to one that is archived.
func TestRestoringWhileTheTargetIsArchived(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.define(t)
	for range 40 {
		ids := p.people(t, 2)
		p.must(t, boss(ids[0], ids[1]))
		p.must(t, entities.ArchiveEntity{ID: ids[0]})
		codes := p.together(t, entities.RestoreEntity{ID: ids[0]}, entities.ArchiveEntity{ID: ids[1]})
		if (codes[0] == "") == (codes[1] == "") || codes[0]+codes[1] != "relationship_restricted" {
			t.Fatalf("got %q, want one of the two", codes)
		}
	}
}

// The longest way that is looked along is found in rounds of reading, by a process that
// has seen nothing of it.
func TestALongWayIsReadInRounds(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.define(t)
	ids := p.people(t, entity.MaxWalkDepth+2)
	for i := range len(ids) - 1 {
		if err := p.submit(t.Context(), 0, boss(ids[i], ids[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	codes := p.together(t, boss(ids[len(ids)-1], ids[0]))
	if err := p.submit(t.Context(), 1, boss(ids[len(ids)-1], ids[1])); codes[0] != "too_many_relationships" || problem.Of(err) == nil || problem.Of(err).Code != "relationship_cycle" {
		t.Fatalf("got %q and %v", codes, err)
	}
}

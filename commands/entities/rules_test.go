package entities_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

// world is what the log says, folded without the domain's help.
type world struct {
	archived map[uuid.UUID]bool
	related  map[triple]bool
}

type triple struct {
	source uuid.UUID
	kind   string
	target uuid.UUID
}

func (w *world) apply(e domain.Event, payload domain.Payload) {
	id := uuid.MustParse(e.Stream.Name())
	switch p := payload.(type) {
	case entity.Archived:
		w.archived[id] = true
	case entity.Restored:
		delete(w.archived, id)
	case entity.RelationshipAdded:
		w.related[triple{id, p.Kind, p.TargetID}] = true
	case entity.RelationshipRemoved:
		delete(w.related, triple{id, p.Kind, p.TargetID})
	}
}

// broken names a rule that does not hold, "" when all do.
func (w *world) broken() string {
	for r := range w.related {
		switch {
		case r.source == r.target:
		case r.kind == "friend" && w.archived[r.target]:
			return "a detaching relationship leads to an archived entity"
		case r.kind == "boss" && w.archived[r.target] && !w.archived[r.source]:
			return "an entity in use refers, by a kind that restricts, to an archived one"
		}
	}
	for r := range w.related {
		if r.kind == "boss" && w.leads(r.target, r.source, len(w.related)) {
			return "a kind without circles goes in one"
		}
	}
	return ""
}

func (w *world) leads(from, to uuid.UUID, steps int) bool {
	if from == to {
		return true
	}
	for r := range w.related {
		if r.kind == "boss" && r.source == from && steps > 0 && w.leads(r.target, to, steps-1) {
			return true
		}
	}
	return false
}

// Whatever two processes are asked at once, after each command of the log the rules of
// relationships hold; and what one process knows by then, another that reads all of it
// anew knows too.
func TestTheRulesOfRelationshipsHoldAfterEachCommand(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.define(t)
	ids := p.people(t, 5)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	some := func() uuid.UUID { return ids[random.IntN(len(ids))] }
	for range 60 {
		deciders := make([]domain.Decider, 8)
		for i := range deciders {
			kind := []string{"boss", "friend"}[random.IntN(2)]
			switch random.IntN(6) {
			case 0, 1, 2:
				deciders[i] = entities.AddRelationship{ID: some(), Kind: kind, TargetID: some()}
			case 3:
				deciders[i] = entities.RemoveRelationship{ID: some(), Kind: kind, TargetID: some()}
			case 4:
				deciders[i] = entities.ArchiveEntity{ID: some()}
			default:
				deciders[i] = entities.RestoreEntity{ID: some()}
			}
		}
		p.together(t, deciders...)
	}
	w := world{archived: map[uuid.UUID]bool{}, related: map[triple]bool{}}
	events := p.events(t)
	codec := eventstore.NewCodec(entity.Kinds()...)
	for i, e := range events {
		fact, err := codec.Fact(e)
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream.Kind() != entity.StreamKind {
			continue
		}
		w.apply(e, fact.Payload)
		if i+1 < len(events) && events[i+1].CommandID == e.CommandID {
			continue
		}
		if broken := w.broken(); broken != "" {
			t.Fatalf("after position %d: %s", e.Position, broken)
		}
	}
	if len(w.related) == 0 && len(events) < 100 {
		t.Fatalf("only %d events have tested anything", len(events))
	}
	// A process of its own decides on what is there as those that made it do.
	fresh := newProcessesOn(t, p.url)
	for _, source := range ids {
		for _, target := range ids {
			for _, kind := range []string{"boss", "friend"} {
				err := fresh.submit(t.Context(), 0, entities.RemoveRelationship{ID: source, Kind: kind, TargetID: target})
				gone := problem.Of(err) != nil && problem.Of(err).Code == "not_found"
				if there := w.related[triple{source, kind, target}]; there == gone && !w.archived[source] {
					t.Errorf("%s of %s to %s: the log says %v, the process %v", kind, source, target, there, err)
				}
			}
		}
	}
}

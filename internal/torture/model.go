package torture

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// state is a type, a key or an entity after some event.
type state struct {
	position int64
	version  int64
	// title is of a type, holder of a key, the others are of an entity.
	title  string
	holder string
	row    Row
}

// model is what the log comes to, as of every position.
type model struct {
	// timelines holds the states of each boundary in the order of positions.
	timelines map[string][]state
	entities  []string
}

func typeName(org, name string) string     { return org + " entity_type:" + name }
func keyName(org, typ, key string) string  { return org + " key:" + typ + "/" + key }
func entityName(id string) string          { return "entity:" + id }
func titleOf(value int) string             { return "title " + strconv.Itoa(value) }
func entityIDOf(stream string) (id string) { return strings.TrimPrefix(stream, "entity:") }

// ours says whether an event is one of those that operations lead to; the system has
// others of its own.
func (e Event) ours() bool {
	return strings.HasPrefix(e.Type, "entity.") || e.Type == "entity_type.defined"
}

func newModel(log []Event) *model {
	m := &model{timelines: make(map[string][]state)}
	for _, e := range log {
		if e.ours() {
			m.apply(e)
		}
	}
	return m
}

func (m *model) apply(e Event) {
	if e.Type == "entity_type.defined" {
		name := typeName(e.Org, e.Data.Name)
		m.timelines[name] = append(m.timelines[name], state{position: e.Position, version: e.Version, title: e.Data.Title})
		return
	}
	id := entityIDOf(e.Stream)
	name := entityName(id)
	s := m.at(name, e.Position)
	s.position, s.version, s.row.Version = e.Position, e.Version, e.Version
	switch e.Type {
	case "entity.created":
		s.row = Row{Org: e.Org, ID: id, Type: e.Data.Type, Key: e.Data.Key, Version: e.Version}
		if e.Data.Attributes.Value != nil {
			s.row.Value = *e.Data.Attributes.Value
		}
		m.entities = append(m.entities, id)
		if e.Data.Key != "" {
			key := keyName(e.Org, e.Data.Type, e.Data.Key)
			m.timelines[key] = append(m.timelines[key], state{position: e.Position, holder: id})
		}
	case "entity.updated":
		if e.Data.Attributes.Value != nil {
			s.row.Value = *e.Data.Attributes.Value
		}
	case "entity.archived":
		s.row.Archived = true
	case "entity.restored":
		s.row.Archived = false
	}
	m.timelines[name] = append(m.timelines[name], s)
}

// at is the state of a boundary as of a position; its version is 0 before there is one.
func (m *model) at(name string, position int64) state {
	timeline := m.timelines[name]
	after := sort.Search(len(timeline), func(i int) bool { return timeline[i].position > position })
	if after == 0 {
		return state{}
	}
	return timeline[after-1]
}

// moments are the positions within a window at which what an operation depends on
// differs: the first, and each at which one of its boundaries moved.
func (m *model) moments(o Operation, from, to int64) []int64 {
	positions := []int64{from}
	for _, name := range o.boundaries() {
		for _, s := range m.timelines[name] {
			if s.position > from && s.position <= to {
				positions = append(positions, s.position)
			}
		}
	}
	slices.Sort(positions)
	return positions
}

// boundaries are what an operation is decided on.
func (o Operation) boundaries() []string {
	switch o.Kind {
	case Define:
		return []string{typeName(o.Org, o.Type)}
	case Create:
		return []string{typeName(o.Org, o.Type), keyName(o.Org, o.Type, o.Key)}
	default:
		return []string{entityName(o.Entity)}
	}
}

// outcome is what an operation should come to at a position.
type outcome struct {
	// code is that of the refusal, "" when accepted.
	code string
	// noop says that nothing had to change.
	noop bool
	// version is that of the resource before, holder the entity with the key.
	version int64
	holder  string
}

// decide is the rules, said once more.
func (m *model) decide(o Operation, position int64) outcome {
	if o.Kind == Create {
		return m.decideCreate(o, position)
	}
	s := m.at(o.boundaries()[0], position)
	out := outcome{version: s.version}
	switch {
	case o.Kind != Define && s.version == 0:
		out.code = "not_found"
	case o.IfMatch != 0 && o.IfMatch != s.version:
		out.code = "version_conflict"
	case o.Kind == Define:
		out.noop = s.title == titleOf(o.Value)
	case o.Kind == Patch && s.row.Archived:
		out.code = "conflict"
	case o.Kind == Patch:
		out.noop = s.row.Value == o.Value
	default:
		out.noop = s.row.Archived == (o.Kind == Archive)
	}
	return out
}

func (m *model) decideCreate(o Operation, position int64) outcome {
	if m.at(typeName(o.Org, o.Type), position).version == 0 {
		return outcome{code: "unknown_type"}
	}
	if o.Key != "" {
		if holder := m.at(keyName(o.Org, o.Type, o.Key), position).holder; holder != "" {
			return outcome{code: "key_taken", holder: holder}
		}
	}
	return outcome{}
}

// does reports why an event is not what the operation asks for, "" when it is.
func (o Operation) does(e Event) string {
	types := map[Kind]string{
		Define: "entity_type.defined", Create: "entity.created", Patch: "entity.updated",
		Archive: "entity.archived", Restore: "entity.restored",
	}
	value := e.Data.Attributes.Value
	switch {
	case e.Type != types[o.Kind] || e.Org != o.Org:
		return fmt.Sprintf("it is %s of %s", e.Type, e.Org)
	case o.Kind == Define && (e.Data.Name != o.Type || e.Data.Title != titleOf(o.Value)):
		return fmt.Sprintf("it defines %s as %q", e.Data.Name, e.Data.Title)
	case o.Kind == Create && (e.Data.Type != o.Type || e.Data.Key != o.Key):
		return fmt.Sprintf("it creates a %s with the key %q", e.Data.Type, e.Data.Key)
	case (o.Kind == Create || o.Kind == Patch) && (value == nil || *value != o.Value):
		return "it sets another value"
	case o.Entity != "" && e.Stream != entityName(o.Entity):
		return "it is in " + e.Stream
	}
	return ""
}

package transactions

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// CreateTransactions makes many transactions, all or none of them. Each sees the effects
// of those before it.
//
// Permission: transactions.write. Reads: what each of them reads.
type CreateTransactions struct {
	// First is the id of the first of them; the others follow from it (BatchID).
	First uuid.UUID
	Items []ledger.NewTransaction
}

// MaxBatch is how many can be made together: they are one turn of the log, and others wait
// for it.
const MaxBatch = 5000

// BatchID is the id of a transaction of a batch: that of the first, whose last two bytes
// are zero, with the index there. So the receipt of a batch, which has one id, tells all.
func BatchID(first uuid.UUID, index int) uuid.UUID {
	binary.BigEndian.PutUint16(first[14:], uint16(index)) //nolint:gosec // there are at most MaxBatch
	return first
}

// BatchIDs are the ids that a receipt of a batch of so many is about.
func BatchIDs(resource string, count int) []string {
	if ids := strings.Split(resource, existingSeparator); len(ids) == count && count > 1 {
		return ids
	}
	first, _ := uuid.Parse(resource) // it was made of one
	ids := make([]string, count)
	for i := range ids {
		if ids[i] = BatchID(first, i).String(); count == 1 {
			ids[i] = resource
		}
	}
	return ids
}

// existingSeparator is between the ids of a batch that was there before.
const existingSeparator = ","

func (c CreateTransactions) item(i int) CreateTransaction {
	item := c.Items[i]
	item.ID = BatchID(c.First, i)
	return CreateTransaction{item}
}

// Fresh names the boundaries that are empty unless the new ids are not new.
func (c CreateTransactions) Fresh() (tags []domain.Tag) {
	for i := range c.Items {
		tags = append(tags, c.item(i).Fresh()...)
	}
	return tags
}

// Boundaries names what the decisions depend on.
func (c CreateTransactions) Boundaries(r domain.Reader) (tags []domain.Tag) {
	for i := range c.Items {
		tags = append(tags, c.item(i).Boundaries(r)...)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// Decide makes the transactions. A problem is that of the first that is refused, with its
// index. A batch is new, or was made before as a whole: what is between is refused as
// external_ref_taken.
func (c CreateTransactions) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	after := overlay{r, map[domain.Tag]domain.State{}, map[domain.Tag]int64{}}
	batch := domain.Decision{ResourceID: c.First.String(), Stream: ledger.TransactionStream(c.First), Created: true}
	var existing []string
	for i := range c.Items {
		decided, err := c.item(i).Decide(after, m)
		if err == nil && !decided.Created {
			existing = append(existing, decided.ResourceID)
			err = c.twice(decided.ResourceID)
		}
		if err == nil && len(existing) > 0 && len(existing) != i+1 {
			err = problem.New(problem.Conflict, "external_ref_taken", "A part of the batch has been made before, and a part of it has not. Send apart what is new.")
		}
		if err != nil {
			return domain.Decision{}, at(err, i)
		}
		after.record(decided.Facts)
		batch.Facts = append(batch.Facts, decided.Facts...)
	}
	if len(existing) > 0 {
		batch.ResourceID, batch.Created = strings.Join(existing, existingSeparator), false
	}
	return batch, nil
}

// twice checks that the transaction which an item has found was not made by an item before it.
// Problem: external_ref_taken.
func (c CreateTransactions) twice(found string) error {
	if id, err := uuid.Parse(found); err == nil && BatchID(id, 0) == c.First {
		return problem.New(problem.Conflict, "external_ref_taken", "The item with index %d has the same external_ref. Send it once.", binary.BigEndian.Uint16(id[14:]))
	}
	return nil
}

// at adds the index of an item to its problem.
func at(err error, index int) error {
	p := problem.Of(err)
	if p == nil {
		return err
	}
	indexed := *p
	indexed.Extra = map[string]any{"index": index}
	maps.Copy(indexed.Extra, p.Extra)
	return &indexed
}

// overlay is a reader on which some facts have happened.
type overlay struct {
	domain.Reader
	states   map[domain.Tag]domain.State
	versions map[domain.Tag]int64
}

// State implements domain.Reader.
func (o overlay) State(tag domain.Tag) domain.State {
	if state, changed := o.states[tag]; changed {
		return state
	}
	return o.Reader.State(tag)
}

// Version implements domain.Reader.
func (o overlay) Version(tag domain.Tag) int64 { return o.Reader.Version(tag) + o.versions[tag] }

// record folds facts into the boundaries that they move, each of which the commands named.
func (o overlay) record(facts []domain.Fact) {
	for _, fact := range facts {
		o.versions[fact.Stream]++
		for _, tag := range append([]domain.Tag{fact.Stream}, fact.Tags...) {
			o.states[tag] = o.State(tag).Evolve(fact)
		}
	}
}

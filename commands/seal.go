package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// Sealing. Commands name the subjects whose keys they need and the names that need a
// token, among their boundaries; the turn looks up what it has not yet, all at once. What
// is not there it makes in memory. Facts are sealed before they are folded, so states,
// caches and receipts never hold a value in clear. What was made and is used by an event
// is kept in the transaction of the append; where another was faster, the turn is decided
// again under the lock with what that one kept.

// vault is what a turn holds of keys and tokens.
type vault struct {
	keys   keyring.Keys
	tokens map[personalName]keyring.Token
	// wanted are names that a command has asked for and nobody has looked up yet.
	wanted map[personalName]bool
}

func newVault() vault {
	return vault{keys: make(keyring.Keys), tokens: make(map[personalName]keyring.Token), wanted: make(map[personalName]bool)}
}

// personalName is a name that must not stand in a tag.
type personalName struct{ org, kind, name string }

// needs are the subjects and names that one call has named; what is made of them is kept
// when the call is accepted.
type needs struct {
	subjects []keyring.Ref
	names    []personalName
	// sealed are the subjects that something was sealed for.
	sealed map[keyring.Ref]bool
}

func (n *needs) seal(ref keyring.Ref) {
	if n.sealed == nil {
		n.sealed = make(map[keyring.Ref]bool)
	}
	n.sealed[ref] = true
}

func (n *needs) subject(ref keyring.Ref) { n.subjects = append(n.subjects, ref) }

// Token implements domain.Reader.
func (v view) Token(kind, name string) string {
	wanted := personalName{v.org, kind, name}
	token, known := v.turn.vault.tokens[wanted]
	if !known {
		if v.deciding {
			panic("a decision asks for a token that it did not ask for in Boundaries")
		}
		v.turn.vault.wanted[wanted] = true
		return ""
	}
	if v.needs != nil {
		v.needs.names = append(v.needs.names, wanted)
	}
	return token.ID.String()
}

// Open implements domain.Reader.
func (v view) Open(s domain.Sealed) (json.RawMessage, error) {
	for _, ref := range keyring.Refs(v.org, s.Subjects()) {
		switch {
		case v.turn.vault.keys[ref] != nil:
		case v.deciding:
			panic("a decision opens a value of a subject that it did not name")
		default:
			return nil, errors.New("values can be opened while deciding only")
		}
	}
	return v.turn.vault.keys.Open(v.org, s)
}

// errNoKeys is a fault of the program: it was put together without a keyring.
var errNoKeys = errors.New("this loop has no keyring, so nothing can be sealed or opened")

// lookUpTokens finds the tokens of the names that are wanted, and makes those that are not
// there.
func (t *turn) lookUpTokens(ctx context.Context) error {
	if len(t.vault.wanted) == 0 {
		return nil
	}
	var names []personalName
	for name := range t.vault.wanted {
		names = append(names, name)
	}
	clear(t.vault.wanted)
	return t.findTokens(ctx, names)
}

func (t *turn) findTokens(ctx context.Context, names []personalName) error {
	if t.loop.keys == nil {
		return errNoKeys
	}
	asked := make([]keyring.Token, len(names))
	for i, name := range names {
		hasher, err := t.loop.keys.Hasher(ctx, name.org)
		if err != nil {
			return err
		}
		asked[i] = keyring.Token{Org: name.org, Hash: hasher.Hash("token", name.kind, name.name)}
	}
	found, err := t.loop.keys.Tokens(ctx, asked)
	if err != nil {
		return err
	}
	for i, token := range found {
		if token.ID == uuid.Nil {
			if t.vault.tokens[names[i]].ID != uuid.Nil {
				continue // made before, and nobody was faster
			}
			token = keyring.NewToken(token.Org, token.Hash)
		}
		t.vault.tokens[names[i]] = token
	}
	return nil
}

// unlock brings the keys of subjects. Of one that was invented just now there is none.
func (t *turn) unlock(ctx context.Context, refs []keyring.Ref, fresh map[keyring.Ref]bool) error {
	var missing []keyring.Ref
	for _, ref := range refs {
		if t.vault.keys[ref] != nil {
			continue
		}
		if t.loop.keys == nil {
			return errNoKeys
		}
		if fresh[ref] && !t.locked {
			if err := t.makeKey(ref); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, ref)
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := t.loop.keys.Load(ctx, missing)
	if err != nil {
		return err
	}
	for _, ref := range missing {
		if t.vault.keys[ref] = found[ref]; found[ref] == nil {
			if err := t.makeKey(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *turn) makeKey(ref keyring.Ref) (err error) {
	t.vault.keys[ref], err = t.loop.keys.New(ref)
	return err
}

// recheck looks, under the log's lock, whether another process has kept meanwhile what
// this turn had to make.
func (t *turn) recheck(ctx context.Context) error {
	var refs []keyring.Ref
	for ref, key := range t.vault.keys {
		if key.New() {
			refs = append(refs, ref)
		}
	}
	if len(refs) > 0 {
		found, err := t.loop.keys.Load(ctx, refs)
		if err != nil {
			return err
		}
		maps.Copy(t.vault.keys, found)
	}
	var names []personalName
	for name := range t.vault.tokens {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	return t.findTokens(ctx, names)
}

// sealed is a fact with its secrets sealed for the event that it becomes.
func (t *turn) sealed(d *decided, fact domain.Fact) (domain.Fact, error) {
	holder, ok := fact.Payload.(domain.Sealable)
	if !ok {
		return fact, nil
	}
	payload, err := holder.Seal(func(pointer string, s domain.Secret) (domain.Sealed, error) {
		return t.seal(d, keyring.Place{Event: fact.ID, Pointer: pointer}, s)
	})
	fact.Payload = payload
	return fact, err
}

// sealedReason is why a command was given, or a fact of it decided, as the event of one of its facts has it: sealed
// for all whom that is about, so in another way for each event.
func (t *turn) sealedReason(d *decided, fact domain.Fact) (string, error) {
	m := d.call.Meta
	for _, ref := range keyring.Refs(m.Org, fact.Subjects) {
		if t.vault.keys[ref] == nil {
			return "", fmt.Errorf("a fact is about the subject %q, which the command did not name", ref.Subject)
		}
	}
	reason := m.Reason
	if fact.Reason != nil {
		reason = *fact.Reason
	}
	if reason == "" || len(fact.Subjects) == 0 {
		return reason, nil
	}
	text, err := json.Marshal(reason)
	if err != nil {
		return "", fmt.Errorf("encoding a reason: %w", err)
	}
	value, err := t.seal(d, keyring.Place{Event: fact.ID, Pointer: domain.ReasonPointer}, domain.NewSecret(text, true, fact.Subjects...))
	return string(value.Data()), err
}

// seal seals one secret, nested for all its subjects. Problem: subject_erased.
func (t *turn) seal(d *decided, at keyring.Place, s domain.Secret) (domain.Sealed, error) {
	org := d.call.Meta.Org
	value, err := t.vault.keys.Seal(org, at, s)
	switch {
	case errors.Is(err, domain.ErrErased):
		return value, subjectErased()
	case err != nil:
		return value, err
	}
	for _, ref := range keyring.Refs(org, value.Subjects()) {
		d.needs.seal(ref)
	}
	return value, nil
}

func subjectErased() error {
	return problem.New(problem.Conflict, "subject_erased",
		"The person whom this is about was erased: what was known is gone, and nothing can be added. A new entity gets a new key.")
}

// kept are the keys and tokens that accepted commands have made and used: those go with the
// append. A key that was made for nothing is forgotten with the turn.
func (t *turn) kept() (keys []*keyring.Key, tokens []keyring.Token) {
	seenKeys, seenTokens := make(map[keyring.Ref]bool), make(map[personalName]bool)
	for _, d := range t.decided {
		if d.err != nil || d.call.DryRun || len(d.outcome.Events) == 0 {
			continue
		}
		for ref := range d.needs.sealed {
			if key := t.vault.keys[ref]; key.New() && !seenKeys[ref] {
				seenKeys[ref] = true
				keys = append(keys, key)
			}
		}
		for _, name := range d.needs.names {
			if !seenTokens[name] && t.vault.tokens[name].New {
				seenTokens[name] = true
				tokens = append(tokens, t.vault.tokens[name])
			}
		}
	}
	return keys, tokens
}

// unveil opens what a resource may show. The keys that its call had, which may be on no
// disk, are asked first.
func (l *Loop) unveil(ctx context.Context, c *call, r *Resource) error {
	veiled, ok := r.State.(domain.Veiled)
	if !ok {
		return nil
	}
	keys := make(keyring.Keys)
	var missing []keyring.Ref
	for _, ref := range keyring.Refs(c.Meta.Org, veiled.Subjects()) {
		if keys[ref] = c.keys[ref]; keys[ref] == nil {
			missing = append(missing, ref)
		}
	}
	if len(missing) > 0 {
		if l.keys == nil {
			return errNoKeys
		}
		found, err := l.keys.Load(ctx, missing)
		if err != nil {
			return err
		}
		maps.Copy(keys, found)
	}
	state, err := veiled.Unveil(func(s domain.Sealed) (json.RawMessage, error) {
		return keys.Open(c.Meta.Org, s)
	})
	r.State = state
	return err
}

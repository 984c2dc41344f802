package reactions

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/domain/member"
)

const (
	// SeenSubject is where APIs tell reactors over core NATS whom a token speaks for.
	SeenSubject = "hub.members.seen"
	// tellAgain is how soon what was told already is told again, should it have got
	// lost. The verifier also brings a token at most once a minute.
	tellAgain = 10 * time.Minute
	// maxObserved bounds the members that are remembered as told, some 200 bytes each.
	maxObserved = 16 << 10
	// maxTelling bounds what waits for NATS; what is beyond is told another time.
	maxTelling = 256
)

// SeenMember is what a verified token says of its holder.
type SeenMember struct {
	Org      string    `json:"org"`
	Sub      string    `json:"sub"`
	Person   string    `json:"person"`
	Roles    []string  `json:"roles"`
	Groups   []string  `json:"groups"`
	IssuedAt time.Time `json:"issued_at"`
	Name     string    `json:"name,omitempty"`
	Email    string    `json:"email,omitempty"`
}

func (m SeenMember) seen() member.Seen {
	return member.Seen{Sub: m.Sub, Person: m.Person, Roles: m.Roles, Groups: m.Groups, IssuedAt: m.IssuedAt, Name: m.Name, Email: m.Email}
}

// Observer tells reactors of the members whose tokens an API has verified. It never
// delays or fails a request: what it cannot tell now comes with a later token.
type Observer struct {
	conn  *nats.Conn
	seal  *envelope
	log   *slog.Logger
	now   func() time.Time
	queue chan SeenMember

	mu   sync.Mutex
	told map[memberKey]telling
}

type memberKey struct{ org, sub string }

// telling is what was told of a member last.
type telling struct {
	content  [sha256.Size]byte
	issuedAt time.Time
	at       time.Time
}

// NewObserver makes an observer; Run tells. The key is the same for all processes.
func NewObserver(conn *nats.Conn, key []byte, log *slog.Logger) *Observer {
	return &Observer{
		conn: conn, seal: newEnvelope(key), log: log, now: time.Now,
		queue: make(chan SeenMember, maxTelling), told: map[memberKey]telling{},
	}
}

// Seen notes a member; it may be called from anywhere.
func (o *Observer) Seen(m SeenMember) {
	key, content, now := memberKey{m.Org, m.Sub}, contentOf(m), o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	last, known := o.told[key]
	if known && now.Sub(last.at) < tellAgain && (content == last.content || !m.IssuedAt.After(last.issuedAt)) {
		return
	}
	select {
	case o.queue <- m:
	default:
		return
	}
	if !known && len(o.told) >= maxObserved {
		o.makeRoom()
	}
	o.told[key] = telling{content: content, issuedAt: m.IssuedAt, at: now}
}

// makeRoom forgets some at random, who are told again then.
func (o *Observer) makeRoom() {
	for key := range o.told {
		if len(o.told) <= maxObserved*3/4 {
			return
		}
		delete(o.told, key)
	}
}

// contentOf tells apart what leads to different members.
func contentOf(m SeenMember) [sha256.Size]byte {
	roles, groups := slices.Sorted(slices.Values(m.Roles)), slices.Sorted(slices.Values(m.Groups))
	text, _ := json.Marshal([]any{m.Person, slices.Compact(roles), slices.Compact(groups), m.Name, m.Email}) // strings always marshal
	return sha256.Sum256(text)
}

// Run tells what is noted until the context ends.
func (o *Observer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-o.queue:
			if err := o.tell(m); err != nil {
				o.log.Debug("reactions: a member could not be told of; it is another time", "error", err)
				o.mu.Lock()
				delete(o.told, memberKey{m.Org, m.Sub})
				o.mu.Unlock()
			}
		}
	}
}

func (o *Observer) tell(m SeenMember) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding a member: %w", err)
	}
	return o.conn.Publish(SeenSubject, o.seal.close(data))
}

// Package torture tells whether a run of the system kept its promises, whatever was
// done to it meanwhile. Clients note what they asked and what they were answered; the
// log says what happened; Check holds the two against each other:
//
//	clients ─ operations, reads ─┐
//	log, views, stream ──────────┴▶ Check ─▶ violations ─▶ Shrink ─▶ the shortest history that shows one
//
// Check is pure and knows the rules of entities on its own, apart from the domain that
// it judges. The log gives a total order, so that no search for one is needed: an
// answer is right if it was right at some position between the request and the answer.
//
// The tests of this package run real processes, kill them and break their connections
// (make torture); docs/torture.md says how.
package torture

import (
	"net/http"
	"time"
)

// Kind is what an operation does.
type Kind string

// The kinds of operations.
const (
	Define  Kind = "define"
	Create  Kind = "create"
	Patch   Kind = "patch"
	Archive Kind = "archive"
	Restore Kind = "restore"
)

// Operation is something that a client wanted done once, however often it asked: more
// than once only with an Idempotency-Key.
type Operation struct {
	ID   int
	Kind Kind
	Org  string
	// Type is defined or given to what is created, with Key ("" for none); Entity is
	// the id of what is changed.
	Type, Key, Entity string
	// Value is the new title of a type or attribute of an entity; Text makes what is
	// created as large as wanted.
	Value int
	Text  string
	// IfMatch is the version asked for, 0 for any.
	IfMatch  int64
	Keyed    bool
	Attempts []Attempt
}

// Attempt is one request. Began and Ended are readings of a clock that counts what
// happens in the clients, so that nothing has the same.
type Attempt struct {
	// Request is the id that its events carry.
	Request      string
	Began, Ended int64
	// Status is 0 when the connection broke before the answer came.
	Status   int
	Code     string
	Replayed bool
	Receipt  Receipt
	// Version is the one that a 412 names as current, Holder the entity that a 409 says has the key.
	Version int64
	Holder  string
}

// Receipt is what an accepted operation was answered.
type Receipt struct {
	ID       string         `json:"id"`
	Version  int64          `json:"version"`
	Position int64          `json:"position"`
	Events   []ReceiptEvent `json:"events"`
}

// ReceiptEvent is an event that a receipt names.
type ReceiptEvent struct {
	Type     string `json:"type"`
	Position int64  `json:"position"`
}

func (a Attempt) accepted() bool { return a.Status == http.StatusOK || a.Status == http.StatusCreated }

// unknown is an answer after which the operation may have been done.
func (a Attempt) unknown() bool { return a.Status == 0 || a.Status == http.StatusGatewayTimeout }

// undone is an answer that promises that nothing was done and says nothing more.
func (a Attempt) undone() bool {
	return a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests
}

// Definite is an answer that settles the operation.
func (a Attempt) Definite() bool { return !a.unknown() && !a.undone() }

// Read is one read of an entity and what it showed.
type Read struct {
	Began, Ended int64
	Entity       string
	// Least is the position that the read asked for.
	Least  int64
	Status int
	// Position is that of the snapshot, 0 when the answer names none.
	Position int64
	Row      Row
}

// Row is an entity as a view shows it.
type Row struct {
	Org, ID, Type, Key string
	Archived           bool
	Value              int
	Version            int64
}

// View is all that a view showed as of a position.
type View struct {
	Name     string
	Position int64
	Rows     []Row
}

// Event is one event of the log.
type Event struct {
	Position, OrgPosition int64
	ID, Org, Stream       string
	Version               int64
	Type                  string
	// Request is empty when the operation is not looked at; see Shrink.
	Request    string
	RecordedAt time.Time
	// HashAgrees says that the leaf hash is the one of the row.
	HashAgrees bool
	Data       Data
}

// Data is what events of these operations hold.
type Data struct {
	Type       string `json:"type"`
	Key        string `json:"key"`
	Name       string `json:"name"`
	Title      string `json:"title"`
	Attributes struct {
		Value *int `json:"value"`
	} `json:"attributes"`
}

// Message is an event in JetStream.
type Message struct {
	Sequence int64
	ID       string
}

// History is a run.
type History struct {
	Operations []Operation
	Reads      []Read
	Log        []Event
	Views      []View
	// Stream is the copy in JetStream at the end, Delivered what a consumer got in the
	// course of the run.
	Stream, Delivered []Message
}

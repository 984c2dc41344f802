package httpapi

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/readmodels"
)

const operationsPath = basePath + "/operations"

// Operations are what cmd/hub supplies for the routes under /operations. What it tells
// is of the whole system, so it must name no organisation and nothing that is theirs.
type Operations struct {
	Views func(context.Context) ([]OperatedView, error)
	Jobs  func(context.Context) ([]ViewJob, error)
	// Parked lists the first ones, one more than readmodels.MaxLimit if there are as many.
	Parked func(context.Context) ([]ParkedStream, error)
	// Request asks for a job of a kind, replayed says that it was asked for before, as with
	// the others. Problems: not_found, job_running, and those of all that change something:
	// idempotency_key_reused, outcome_unknown.
	Request func(ctx context.Context, asked Asked, view, kind string) (job ViewJob, replayed bool, err error)
	// Cancel asks the job of a view to stop. Problems: not_found.
	Cancel func(ctx context.Context, asked Asked, view string) (job ViewJob, replayed bool, err error)
	Relay  func(context.Context) (RelayState, error)

	Reactions func(context.Context) ([]OperatedReaction, error)
	// ChangeParked retries or drops parked events of a reaction: the one at a position,
	// or all when that is 0. It returns how many. Problems: not_found.
	ChangeParked func(ctx context.Context, asked Asked, reaction, change string, position int64) (events int64, replayed bool, err error)
}

// Asked is that a caller asked for an operation.
type Asked struct {
	Org, Caller string
	// Key makes it one that is done once, however often it comes; empty for none. Hash is
	// of all that is asked for with it.
	Key  string
	Hash []byte
	// DryRun asks for what would happen, and for nothing to happen; the key is then nothing.
	DryRun bool
}

// OperatedReaction is a reaction as operators see it.
type OperatedReaction struct {
	Name         string        `json:"name" example:"notifications"`
	Position     int64         `json:"position" doc:"Position up to which it is done with the log." example:"4711"`
	LagPositions int64         `json:"lag_positions" doc:"Events that it has not looked at." example:"0"`
	LagSeconds   float64       `json:"lag_seconds" doc:"Age of the first of them." example:"0"`
	UpdatedAt    time.Time     `json:"updated_at" doc:"When it moved last."`
	Parked       int64         `json:"parked" doc:"Events that wait for a retry or to be dropped." example:"0"`
	Items        []ParkedEvent `json:"items" doc:"The first 100 of them."`
}

// ParkedEvent is an event that a reaction could not react to, or that is behind one in
// its stream.
type ParkedEvent struct {
	Position   int64     `json:"position" example:"4711"`
	StreamHash string    `json:"stream_hash" doc:"The first 16 bytes of the SHA-256 of org/stream, in hexadecimal."`
	Type       string    `json:"type" example:"entity.created"`
	Reason     string    `json:"reason" doc:"Why, without values of the event."`
	Attempts   int       `json:"attempts" doc:"0 for one that only is behind another." example:"5"`
	Retry      bool      `json:"retry" doc:"Whether it is to be taken up again."`
	ParkedAt   time.Time `json:"parked_at"`
}

// OperatedView is a view as operators see it.
type OperatedView struct {
	Name         string    `json:"name" example:"entities"`
	Version      int       `json:"version" doc:"Version of the projection." example:"1"`
	Schema       string    `json:"schema" doc:"Schema in the views' database that answers." example:"entities_v1"`
	State        string    `json:"state" enum:"following,catching_up,stopped" doc:"following: within a second of the log; catching_up: behind, and moving; stopped: error says why." example:"following"`
	Error        string    `json:"error,omitempty" doc:"Why it does not go on."`
	Position     int64     `json:"position" doc:"Position up to which it has the log." example:"4711"`
	LagPositions int64     `json:"lag_positions" doc:"Events that it lacks." example:"0"`
	LagSeconds   float64   `json:"lag_seconds" doc:"Age of the first of them." example:"0"`
	UpdatedAt    time.Time `json:"updated_at" doc:"When it moved last."`
	Parked       int       `json:"parked" doc:"Streams that wait, because an event of theirs cannot be applied." example:"0"`
	Previous     string    `json:"previous,omitempty" doc:"Schema that a rollback goes back to."`
	Job          *ViewJob  `json:"job,omitempty" doc:"The job that is under way."`
}

// ViewJob is work on a view beside following the log.
type ViewJob struct {
	ID          string     `json:"id" format:"uuid"`
	View        string     `json:"view" example:"entities"`
	Kind        string     `json:"kind" enum:"rebuild,verify,retry" example:"rebuild"`
	RequestedBy string     `json:"requested_by" enum:"operator,schedule,upgrade" example:"operator"`
	State       string     `json:"state" enum:"queued,running,completed,failed,cancelled" example:"running"`
	Done        int64      `json:"done" doc:"Positions behind it." example:"120000"`
	Total       int64      `json:"total" example:"1000000"`
	Rate        float64    `json:"rate" doc:"Positions a second." example:"20000"`
	ETASeconds  *float64   `json:"eta_seconds,omitempty" example:"44"`
	Error       string     `json:"error,omitempty"`
	Findings    int64      `json:"findings" doc:"How much is wrong: rows that a verify found to differ, streams that a retry left." example:"0"`
	RequestedAt time.Time  `json:"requested_at"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	DryRun      bool       `json:"dry_run,omitempty" doc:"true when nothing was done, because ?dry_run=true asked for that. The id of a job that there would be is all zeros."`
}

// ParkedStream is a stream that waits in a view.
type ParkedStream struct {
	View          string    `json:"view" example:"entities"`
	StreamHash    string    `json:"stream_hash" doc:"The first 16 bytes of the SHA-256 of org/stream, in hexadecimal: enough to find a stream that you know, and no more."`
	FirstPosition int64     `json:"first_position" doc:"Position of the event that cannot be applied." example:"4711"`
	LastPosition  int64     `json:"last_position" example:"4720"`
	Events        int64     `json:"events" doc:"Events of the stream that the view lacks." example:"2"`
	Reason        string    `json:"reason" enum:"unreadable,newer,refused" doc:"unreadable: its payload cannot be decoded; newer: a newer program wrote it; refused: the projection or its tables refuse what it says."`
	ParkedAt      time.Time `json:"parked_at"`
}

// RelayState is how far the copy of the log in JetStream is, seen from here.
type RelayState struct {
	Leader       bool    `json:"leader" doc:"Whether some process has the lease of the relay."`
	Head         int64   `json:"head" doc:"Last position of the log." example:"4711"`
	Published    int64   `json:"published" doc:"Last position in the stream." example:"4711"`
	First        int64   `json:"first" doc:"First position that the stream still has." example:"1"`
	LagPositions int64   `json:"lag_positions" example:"0"`
	LagSeconds   float64 `json:"lag_seconds" doc:"Age of the first event that the stream lacks." example:"0"`
	Error        string  `json:"error,omitempty" doc:"Why it is not known, or does not go on."`
}

// listing is a list of one page: it is short by its nature, or when all is well.
type listing[T any] struct{ Body items[T] }

type items[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" nullable:"true" doc:"Always null: there is one page."`
	Truncated  bool    `json:"truncated" doc:"Whether there are more than the 500 that are shown."`
}

func listed[T any](found []T, err error) (*listing[T], error) {
	if err != nil {
		return nil, err
	}
	if found == nil {
		found = []T{}
	}
	shown := found[:min(len(found), readmodels.MaxLimit)]
	return &listing[T]{items[T]{Items: shown, Truncated: len(shown) < len(found)}}, nil
}

type viewInput struct {
	Name string `path:"name" maxLength:"64" doc:"Name of a view." example:"entities"`
}

type jobOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Body     ViewJob
}

func (a *API) listViews(ctx context.Context, _ *struct{}) (*listing[OperatedView], error) {
	return listed(a.operations.Views(ctx))
}

func (a *API) listJobs(ctx context.Context, _ *struct{}) (*listing[ViewJob], error) {
	return listed(a.operations.Jobs(ctx))
}

func (a *API) listParked(ctx context.Context, _ *struct{}) (*listing[ParkedStream], error) {
	return listed(a.operations.Parked(ctx))
}

// requestJob makes the handler that asks for jobs of a kind.
func (a *API) requestJob(kind string) func(context.Context, *viewInput) (*jobOutput, error) {
	return func(ctx context.Context, in *viewInput) (*jobOutput, error) {
		return a.job(ctx, func(asked Asked) (ViewJob, bool, error) { return a.operations.Request(ctx, asked, in.Name, kind) })
	}
}

func (a *API) cancelJob(ctx context.Context, in *viewInput) (*jobOutput, error) {
	return a.job(ctx, func(asked Asked) (ViewJob, bool, error) { return a.operations.Cancel(ctx, asked, in.Name) })
}

func (a *API) job(ctx context.Context, do func(Asked) (ViewJob, bool, error)) (*jobOutput, error) {
	found, dry, err := operate(ctx, a, do)
	if err != nil {
		return nil, err
	}
	found.DryRun = dry
	return &jobOutput{Body: found}, nil
}

// operate does an operation as the request asks for it: once for its Idempotency-Key, or
// not at all. Problems: invalid_idempotency_key, invalid_request for dry_run.
func operate[T any](ctx context.Context, a *API, do func(Asked) (T, bool, error)) (found T, dry bool, err error) {
	e := exchangeOf(ctx)
	asked := Asked{Org: e.caller.Org, Caller: e.caller.Sub}
	if asked.Key, err = idempotencyKey(e.request.Header["Idempotency-Key"]); err != nil {
		return found, false, err
	}
	if asked.DryRun, err = dryRun(e.query); err != nil {
		return found, false, err
	}
	if asked.Key != "" {
		asked.Hash = a.requestHash(e)
	}
	found, replayed, err := do(asked)
	if replayed { // a refusal may be, too
		e.Header().Set("Idempotency-Replayed", "true")
	}
	return found, asked.DryRun, err
}

func (a *API) getRelay(ctx context.Context, _ *struct{}) (*relayOutput, error) {
	found, err := a.operations.Relay(ctx)
	if err != nil {
		return nil, err
	}
	return &relayOutput{found}, nil
}

type relayOutput struct{ Body RelayState }

type reactionInput struct {
	Name     string `path:"name" maxLength:"48" doc:"Name of a reaction." example:"notifications"`
	Position int64  `query:"position" minimum:"1" maximum:"9223372036854775807" required:"false" doc:"Only the event at this position; all of them when left out." example:"4711"`
}

type changedOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Body     changedEvents
}

type changedEvents struct {
	Events int64 `json:"events" doc:"How many parked events that was." example:"1"`
	DryRun bool  `json:"dry_run,omitempty" doc:"true when nothing was done, because ?dry_run=true asked for that."`
}

func (a *API) listReactions(ctx context.Context, _ *struct{}) (*listing[OperatedReaction], error) {
	return listed(a.operations.Reactions(ctx))
}

// changeParked makes the handler that retries or drops.
func (a *API) changeParked(change string) func(context.Context, *reactionInput) (*changedOutput, error) {
	return func(ctx context.Context, in *reactionInput) (*changedOutput, error) {
		events, dry, err := operate(ctx, a, func(asked Asked) (int64, bool, error) {
			return a.operations.ChangeParked(ctx, asked, in.Name, change, in.Position)
		})
		if err != nil {
			return nil, err
		}
		return &changedOutput{Body: changedEvents{events, dry}}, nil
	}
}

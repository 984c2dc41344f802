package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const accountsPath = basePath + "/accounts"

// NewAccount is the body that opens an account.
type NewAccount struct {
	Code       string  `json:"code" doc:"The organisation's own number of it, unique for ever; 1 to 64 characters." example:"1000"`
	Name       string  `json:"name" doc:"What people call it; 1 to 200 characters." example:"Bank"`
	Kind       string  `json:"kind" enum:"asset,liability,equity,income,expense" doc:"Debits make the balance of assets and expenses grow, credits that of the others."`
	Currency   string  `json:"currency" doc:"Code of ISO 4217. All entries are in it." example:"EUR"`
	MinBalance *string `json:"min_balance,omitempty" nullable:"true" doc:"The least that may be available, on any day, at most zero; null or absent for no limit. It never changes." example:"0.00"`
	EntityID   *string `json:"entity_id,omitempty" nullable:"true" doc:"An entity that the account belongs to, as a customer." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
}

// openedAccount is what opening an account is about, and accountResource what the other
// commands are, whose account has a balance, which their states know nothing of.
var (
	openedAccount   = resource[readmodels.Account]{collection: accountsPath, kind: ledger.AccountKind, view: viewOfAccount}
	accountResource = resource[readmodels.Account]{collection: accountsPath, kind: ledger.AccountKind, view: viewOfAccount, complete: addBalances}
)

// addBalances adds what is on an account.
func addBalances(ctx context.Context, a *API, shown *readmodels.Account) error {
	found, _, err := a.views.Account(ctx, exchangeOf(ctx).caller.Org, shown.ID, readmodels.Point{})
	shown.Balance, shown.Pending, shown.Available = found.Balance, found.Pending, found.Available
	return err
}

// viewOfAccount shows an account that has no entries yet.
func viewOfAccount(r commands.Resource) (readmodels.Account, error) {
	a := r.State.(ledger.Account)
	nothing := ledger.FormatMinor(0, a.Currency)
	view := readmodels.Account{
		Code: a.Code, Name: a.Name, Kind: string(a.Kind), Currency: a.Currency, Status: "open", EntityID: a.EntityID,
		Balance: nothing, Pending: &nothing, Available: &nothing, Version: r.Version,
		CreatedAt: r.Created.At, CreatedBy: r.Created.By, UpdatedAt: r.Updated.At, UpdatedBy: r.Updated.By,
	}
	if a.Closed {
		view.Status = "closed"
	}
	if a.MinBalance != nil {
		least := ledger.FormatMinor(*a.MinBalance, a.Currency)
		view.MinBalance = &least
	}
	var err error
	view.ID, err = uuid.Parse(r.ID)
	return view, err
}

type openAccountInput struct{ Body NewAccount }

func (a *API) openAccount(ctx context.Context, in *openAccountInput) (*receiptOutput[readmodels.Account], error) {
	id, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	b := in.Body
	account := ledger.NewAccount{ID: id, Code: b.Code, Name: b.Name, Kind: ledger.Kind(b.Kind), Currency: b.Currency, MinBalance: b.MinBalance}
	if b.EntityID != nil {
		entity, _ := uuid.Parse(*b.EntityID) // what is no id is that of no entity
		account.EntityID = &entity
	}
	return submit(ctx, a, transactions.OpenAccount{NewAccount: account}, openedAccount)
}

// AccountPath has the id in the path of an account.
type AccountPath struct {
	ID string `path:"id" doc:"The account's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
}

func (a *API) closeAccount(ctx context.Context, in *AccountPath) (*receiptOutput[readmodels.Account], error) {
	id, err := idOf("account", in.ID)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, transactions.CloseAccount{ID: id}, accountResource)
}

func (a *API) reopenAccount(ctx context.Context, in *AccountPath) (*receiptOutput[readmodels.Account], error) {
	id, err := idOf("account", in.ID)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, transactions.ReopenAccount{ID: id}, accountResource)
}

// PointInTime has the parameters that put a read into the past, on both axes.
type PointInTime struct {
	AsOf    string `query:"as_of" doc:"Count entries that took effect on this date or before." example:"2026-01-31"`
	KnownAt string `query:"known_at" doc:"Count entries that had been recorded by this time." example:"2026-02-03T09:30:00Z"`
}

// point reads them. Problem: invalid_filter.
func (p PointInTime) point() (readmodels.Point, error) {
	var point readmodels.Point
	var err error
	if point.AsOf, err = dateParameter("as_of", p.AsOf); err != nil {
		return point, err
	}
	if p.KnownAt != "" {
		at, err := time.Parse(time.RFC3339Nano, p.KnownAt)
		if err != nil {
			return point, invalidParameter("known_at", "must be a time of RFC 3339, as 2026-11-22T09:30:00Z (a + percent-encoded)")
		}
		point.KnownAt = &at
	}
	return point, nil
}

// dateParameter reads a date; nil for none given. Problem: invalid_filter.
func dateParameter(name, text string) (*ledger.Date, error) {
	if text == "" {
		return nil, nil
	}
	date, ok := ledger.ParseDate(text)
	if !ok {
		return nil, invalidParameter(name, "must be a date from 1900-01-01 to 2199-12-31, as 2026-01-31")
	}
	return &date, nil
}

func invalidParameter(name, message string) error {
	return problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").
		With(problem.Field{Location: "query." + name, Message: message})
}

type getAccountInput struct {
	AccountPath
	PointInTime
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"balance,available"`
}

func (a *API) getAccount(ctx context.Context, in *getAccountInput) (*view[readmodels.Account], error) {
	id, err := idOf("account", in.ID)
	if err != nil {
		return nil, err
	}
	point, err := in.point()
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf[readmodels.Account](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Account, readmodels.Snapshot, error) {
		return a.reads.Account(ctx, org, id, point)
	})
	if err != nil {
		return nil, err
	}
	text, err := shape.write(found, nil)
	if err != nil {
		return nil, err
	}
	return answer[readmodels.Account](ctx, at, changingTag(found.Version, text), func() ([]byte, error) { return text, nil })
}

// changingTag is the entity tag of what changes between its versions, as a balance does.
func changingTag(version int64, text []byte) string {
	sum := sha256.Sum256(text)
	return `"` + strconv.FormatInt(version, 10) + shapeSeparator + hex.EncodeToString(sum[:8]) + `"`
}

type listAccountsInput struct {
	PointInTime
	Kind     string `query:"kind" enum:"asset,liability,equity,income,expense" doc:"Only accounts of this kind."`
	Currency string `query:"currency" doc:"Only accounts in this currency." example:"EUR"`
	Status   string `query:"status" enum:"open,closed" doc:"Only accounts of this status."`
	Code     string `query:"code" doc:"Only the account with this code." example:"1000"`
	EntityID string `query:"entity_id" doc:"Only accounts that are linked to this entity."`
	Sort     string `query:"sort" enum:"code,-code,created_at,-created_at,updated_at,-updated_at" default:"code" doc:"Order; - for descending."`
	Fields   string `query:"fields" doc:"Only these members, with commas between." example:"code,balance"`
	Selected
}

func (a *API) listAccounts(ctx context.Context, in *listAccountsInput) (*view[readmodels.AccountPage], error) {
	shape, err := shapeOf[readmodels.Account](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	point, err := in.point()
	if err != nil {
		return nil, err
	}
	entity, err := idParameter("entity_id", in.EntityID)
	if err != nil {
		return nil, err
	}
	selection, err := in.selection(exchangeOf(ctx), in.Sort)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.AccountPage, readmodels.Snapshot, error) {
		return a.reads.Accounts(ctx, org, readmodels.AccountQuery{
			Selection: selection, Point: point,
			Kind: in.Kind, Currency: in.Currency, Status: in.Status, Code: in.Code, EntityID: entity,
		})
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

// idParameter reads an id; nil for none given. Problem: invalid_filter.
func idParameter(name, text string) (*uuid.UUID, error) {
	if text == "" {
		return nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return nil, invalidParameter(name, "must be a UUID")
	}
	return &id, nil
}

type listEntriesInput struct {
	AccountPath
	From    string `query:"from" doc:"Only entries of this date or later." example:"2026-01-01"`
	To      string `query:"to" doc:"Only entries of this date or before." example:"2026-01-31"`
	KnownAt string `query:"known_at" doc:"Only entries that had been recorded by this time, with the balances as they were known then." example:"2026-02-03T09:30:00Z"`
	Sort    string `query:"sort" enum:"date,-date" default:"date" doc:"Order; - for the latest first. The balances are the same."`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor  string `query:"cursor" doc:"next_cursor of the page before; keep the other parameters as they were."`
	Count   bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields  string `query:"fields" doc:"Only these members, with commas between." example:"date,amount,balance"`
}

func (a *API) listEntries(ctx context.Context, in *listEntriesInput) (*view[readmodels.EntryPage], error) {
	id, err := idOf("account", in.ID)
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf[readmodels.Entry](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	from, err := dateParameter("from", in.From)
	if err != nil {
		return nil, err
	}
	to, err := dateParameter("to", in.To)
	if err != nil {
		return nil, err
	}
	point, err := PointInTime{KnownAt: in.KnownAt}.point()
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.EntryPage, readmodels.Snapshot, error) {
		return a.reads.Entries(ctx, org, id, readmodels.EntryQuery{
			Page: readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count}, From: from, To: to, KnownAt: point.KnownAt, Descending: in.Sort == "-date",
		})
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

type getBalancesInput struct {
	AccountPath
	From        string `query:"from" required:"true" doc:"The first date." example:"2026-01-01"`
	To          string `query:"to" required:"true" doc:"The last date." example:"2026-01-31"`
	Granularity string `query:"granularity" enum:"day,month" default:"day" doc:"A balance for each day, or for each month at its end; the last month ends with to."`
	KnownAt     string `query:"known_at" doc:"Count entries that had been recorded by this time." example:"2026-02-03T09:30:00Z"`
}

func (a *API) getBalances(ctx context.Context, in *getBalancesInput) (*view[readmodels.BalanceHistory], error) {
	id, err := idOf("account", in.ID)
	if err != nil {
		return nil, err
	}
	dates, err := in.dates()
	if err != nil {
		return nil, err
	}
	point, err := PointInTime{KnownAt: in.KnownAt}.point()
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	history, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.BalanceHistory, readmodels.Snapshot, error) {
		return a.reads.Balances(ctx, org, id, dates, point.KnownAt)
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, history, history.Items, at, shape{}, nil)
}

// dates are the ends of the days or months. Problem: invalid_filter.
func (in *getBalancesInput) dates() ([]ledger.Date, error) {
	from, err := dateParameter("from", in.From)
	if err != nil {
		return nil, err
	}
	to, err := dateParameter("to", in.To)
	if err != nil {
		return nil, err
	}
	if *to < *from { // both are there: the route requires them
		return nil, invalidParameter("to", "must not be before from")
	}
	var dates []ledger.Date
	for next := *from; next <= *to; next = dates[len(dates)-1] + 1 {
		if len(dates) == readmodels.MaxBalances {
			return nil, invalidParameter("to", "must be nearer: there are at most "+strconv.Itoa(readmodels.MaxBalances)+" balances at a time")
		}
		if in.Granularity == "month" {
			next = min(next.MonthEnd(), *to)
		}
		dates = append(dates, next)
	}
	return dates, nil
}

// idOf reads an id in a path. What is no id names nothing.
func idOf(what, text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return uuid.Nil, noSuch(what, "id")
	}
	return id, nil
}

package httpapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/readmodels"
)

const transactionsPath = basePath + "/transactions"

// NewTransaction is the body that makes a transaction.
type NewTransaction struct {
	Date        string                     `json:"date" doc:"When it takes effect, from 1900-01-01 to 2199-12-31." example:"2026-01-31"`
	Description string                     `json:"description,omitempty" doc:"What it is about; at most 1,000 characters. Nothing personal without subjects." example:"Office rent, January"`
	Lines       []NewLine                  `json:"lines,omitempty" doc:"What is debited and what is credited: with those of splits at least 2 and at most 500, and equal in each currency."`
	Splits      []Split                    `json:"splits,omitempty" doc:"Amounts that are shared out: a line for each account."`
	ExternalRef string                     `json:"external_ref,omitempty" minLength:"1" doc:"Your own id of it, unique for ever; at most 200 characters. The same request again answers the same transaction." example:"invoice-4711"`
	Metadata    map[string]json.RawMessage `json:"metadata,omitempty" doc:"Anything of your own, at most 50 members and 16 KiB. Nothing personal." example:"{\"order\":\"A-17\"}"`
	Subjects    []string                   `json:"subjects,omitempty" doc:"Ids of the entities that it is about, at most 100: description, private and the reason are sealed for all of them, and lost when one is erased." example:"[\"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11\"]"`
	Private     map[string]json.RawMessage `json:"private,omitempty" doc:"What is for privacy alone, at most 50 members and 16 KiB. Only with subjects." example:"{\"case\":\"insolvency\"}"`
	ExpiresAt   *time.Time                 `json:"expires_at,omitempty" doc:"When it expires unless it has been posted." example:"2026-12-01T00:00:00Z"`
	Action      string                     `json:"action,omitempty" enum:"draft,submit,post" doc:"How far it goes at once: draft, also when absent, holds nothing; submit asks for approval and holds the money; post moves it."`
	OnClosed    string                     `json:"on_closed_period,omitempty" enum:"refuse,move" doc:"Where the date is in a closed period: refuse, also when absent, or move it to the first open date."`
}

// NewLine is a line as it is sent.
type NewLine struct {
	AccountID string        `json:"account_id" doc:"An account that is open." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Side      string        `json:"side" enum:"debit,credit" doc:"The side that it stands on."`
	Amount    string        `json:"amount" doc:"A positive decimal string, with at most the digits of the account's currency." example:"850.00"`
	Currency  string        `json:"currency,omitempty" doc:"The currency that you believe the account to be in." example:"EUR"`
	Exchange  *LineExchange `json:"exchange,omitempty" doc:"What the amount was converted from. The rate must make this amount of that one, rounded half away from zero."`
}

// LineExchange is the other end of a conversion.
type LineExchange struct {
	FromAmount   string `json:"from_amount" doc:"The amount that was converted, which another line has." example:"100.00"`
	FromCurrency string `json:"from_currency" doc:"Its currency." example:"USD"`
	Rate         string `json:"rate" doc:"How much one of it is worth, as a decimal string." example:"0.9231"`
}

// Split is an amount that is shared out.
type Split struct {
	Side   string  `json:"side" enum:"debit,credit" doc:"The side that its lines stand on."`
	Amount string  `json:"amount" doc:"A positive decimal string." example:"15.00"`
	Shares []Share `json:"shares" doc:"Who gets how much of it: parts are rounded down, and what is left goes in smallest units to the first."`
}

// Share is an account's part of a split.
type Share struct {
	AccountID string `json:"account_id" doc:"An account that is open." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Share     int64  `json:"share" minimum:"1" maximum:"1000000000" doc:"In relation to the others, as 80, 8 and 12." example:"80"`
}

func (n NewTransaction) command(id uuid.UUID) ledger.NewTransaction {
	draft := ledger.Draft{
		Date: n.Date, Description: n.Description, Lines: draftLines(n.Lines), ExternalRef: n.ExternalRef, Metadata: n.Metadata, ExpiresAt: n.ExpiresAt,
		Subjects: n.Subjects, Private: n.Private,
	}
	for _, split := range n.Splits {
		shared := ledger.Split{Side: split.Side, Amount: split.Amount}
		for _, share := range split.Shares {
			shared.Shares = append(shared.Shares, ledger.Share(share))
		}
		draft.Splits = append(draft.Splits, shared)
	}
	return ledger.NewTransaction{ID: id, Draft: draft, Action: n.Action, Move: n.OnClosed == moveDate}
}

// moveDate is the value of on_closed_period that lets a date move.
const moveDate = "move"

// draftLines keeps absence apart from an empty list.
func draftLines(lines []NewLine) []ledger.DraftLine {
	if lines == nil {
		return nil
	}
	drafts := make([]ledger.DraftLine, len(lines))
	for i, line := range lines {
		drafts[i] = ledger.DraftLine{
			AccountID: line.AccountID, Side: line.Side, Amount: line.Amount, Currency: line.Currency, Exchange: (*ledger.Exchange)(line.Exchange),
		}
	}
	return drafts
}

// transactionResource is what the commands of transactions are about.
var transactionResource = resource[readmodels.Transaction]{collection: transactionsPath, kind: ledger.TransactionKind, view: viewOfTransaction}

// viewOfTransaction shows a transaction as its view does.
func viewOfTransaction(r commands.Resource) (readmodels.Transaction, error) {
	id, err := uuid.Parse(r.ID)
	if err != nil {
		return readmodels.Transaction{}, err
	}
	view, err := readmodels.NewTransaction(id, r.State.(ledger.Transaction))
	view.Version = r.Version
	view.CreatedAt, view.CreatedBy, view.UpdatedAt, view.UpdatedBy = r.Created.At, r.Created.By, r.Updated.At, r.Updated.By
	return view, err
}

type createTransactionInput struct{ Body NewTransaction }

func (a *API) createTransaction(ctx context.Context, in *createTransactionInput) (*receiptOutput[readmodels.Transaction], error) {
	id, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, transactions.CreateTransaction{NewTransaction: in.Body.command(id)}, transactionResource)
}

// TransactionPath has the id in the path of a transaction.
type TransactionPath struct {
	ID string `path:"id" doc:"The transaction's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
}

// TransactionPatch is the body that changes a transaction.
type TransactionPatch struct {
	Date        string                     `json:"date,omitempty" doc:"A new date." example:"2026-02-01"`
	Description *string                    `json:"description,omitempty" nullable:"true" doc:"A new text; null for none." example:"Office rent, February"`
	Lines       []NewLine                  `json:"lines,omitempty" doc:"The new lines, all of them."`
	Metadata    map[string]json.RawMessage `json:"metadata,omitempty" nullable:"true" doc:"New values by name; null removes one, and null instead of the object all."`
	ExpiresAt   *time.Time                 `json:"expires_at,omitempty" nullable:"true" doc:"A new time; null for never."`
	Subjects    []string                   `json:"subjects,omitempty" nullable:"true" doc:"The new ones, all of them; null for none. Where one is taken out, description is sent anew and private is null."`
	Private     map[string]json.RawMessage `json:"private,omitempty" nullable:"true" doc:"New values by name; null removes one, and null instead of the object all."`
}

type patchTransactionInput struct {
	TransactionPath
	OnClosed string `query:"on_closed_period" enum:"refuse,move" default:"refuse" doc:"Where the date is in a closed period: refuse, or move it to the first open date."`
	Body     TransactionPatch
}

// patchTransaction hands the body on as it came, as patchEntity does.
func (a *API) patchTransaction(ctx context.Context, in *patchTransactionInput) (*receiptOutput[readmodels.Transaction], error) {
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider {
		return transactions.PatchTransaction{Patch: ledger.Patch{ID: id, Document: exchangeOf(ctx).document, Move: in.OnClosed == moveDate}}
	})
}

// act gives a command to a transaction.
func (a *API) act(ctx context.Context, text string, command func(uuid.UUID) domain.Decider) (*receiptOutput[readmodels.Transaction], error) {
	id, err := idOf("transaction", text)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, command(id), transactionResource)
}

// Submitting is the body that asks for approval.
type Submitting struct {
	OnClosed string `json:"on_closed_period,omitempty" enum:"refuse,move" doc:"Where the date is in a closed period: refuse, also when absent, or move it to the first open date."`
}

type submitTransactionInput struct {
	TransactionPath
	Body *Submitting
}

func (a *API) submitTransaction(ctx context.Context, in *submitTransactionInput) (*receiptOutput[readmodels.Transaction], error) {
	move := in.Body != nil && in.Body.OnClosed == moveDate
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider { return transactions.SubmitTransaction{ID: id, Move: move} })
}

func (a *API) approveTransaction(ctx context.Context, in *TransactionPath) (*receiptOutput[readmodels.Transaction], error) {
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider { return transactions.ApproveTransaction{ID: id} })
}

func (a *API) rejectTransaction(ctx context.Context, in *TransactionPath) (*receiptOutput[readmodels.Transaction], error) {
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider { return transactions.RejectTransaction{ID: id} })
}

func (a *API) voidTransaction(ctx context.Context, in *TransactionPath) (*receiptOutput[readmodels.Transaction], error) {
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider { return transactions.VoidTransaction{ID: id} })
}

// Posting is the body that posts a transaction.
type Posting struct {
	Lines    []NewLine `json:"lines,omitempty" doc:"Those to post, of each account and side at most what the transaction has; the rest is released. All when absent."`
	OnClosed string    `json:"on_closed_period,omitempty" enum:"refuse,move" doc:"Where the date is in a closed period: refuse, also when absent, or move it to the first open date."`
}

type postTransactionInput struct {
	TransactionPath
	Body *Posting
}

func (a *API) postTransaction(ctx context.Context, in *postTransactionInput) (*receiptOutput[readmodels.Transaction], error) {
	var b Posting
	if in.Body != nil {
		b = *in.Body
	}
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider {
		return transactions.PostTransaction{Posting: ledger.Posting{ID: id, Lines: draftLines(b.Lines), Move: b.OnClosed == moveDate}}
	})
}

// Reversal is the body that reverses a transaction.
type Reversal struct {
	Date        *string `json:"date,omitempty" doc:"When the reversal takes effect, not before the transaction; its date when absent." example:"2026-02-03"`
	Description *string `json:"description,omitempty" doc:"Of the reversal; that of the transaction when absent." example:"Charged twice"`
	OnClosed    string  `json:"on_closed_period,omitempty" enum:"refuse,move" doc:"Where the date is in a closed period: refuse, also when absent, or move it to the first open date."`
}

type reverseTransactionInput struct {
	TransactionPath
	Body *Reversal
}

func (a *API) reverseTransaction(ctx context.Context, in *reverseTransactionInput) (*receiptOutput[readmodels.Transaction], error) {
	by, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	var b Reversal
	if in.Body != nil {
		b = *in.Body
	}
	return a.act(ctx, in.ID, func(id uuid.UUID) domain.Decider {
		return transactions.ReverseTransaction{Reversal: ledger.Reversal{ID: id, By: by, Date: b.Date, Description: b.Description, Move: b.OnClosed == moveDate}}
	})
}

type getTransactionInput struct {
	TransactionPath
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"status,lines"`
}

func (a *API) getTransaction(ctx context.Context, in *getTransactionInput) (*view[readmodels.Transaction], error) {
	id, err := idOf("transaction", in.ID)
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf[readmodels.Transaction](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Transaction, readmodels.Snapshot, error) {
		return a.reads.Transaction(ctx, org, id)
	})
	if err == nil {
		err = a.revealPrivate(ctx, &found, shape)
	}
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, found, at, found.Version, shape, nil)
}

func (a *API) explainTransaction(ctx context.Context, in *TransactionPath) (*view[readmodels.Explanation], error) {
	id, err := idOf("transaction", in.ID)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Explanation, readmodels.Snapshot, error) {
		return a.reads.Explain(ctx, org, id)
	})
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, found, at, found.Version, shape{}, nil)
}

type listTransactionsInput struct {
	Status      string `query:"status" enum:"draft,submitted,approved,posted,rejected,voided,expired,reversed" doc:"Only transactions of this status."`
	AccountID   string `query:"account_id" doc:"Only transactions with a line on this account."`
	From        string `query:"from" doc:"Only transactions of this date or later." example:"2026-01-01"`
	To          string `query:"to" doc:"Only transactions of this date or before." example:"2026-01-31"`
	Q           string `query:"q" maxLength:"200" doc:"Only transactions whose description or external_ref has this text in it, in capitals or not." example:"rent"`
	ExternalRef string `query:"external_ref" doc:"Only the transaction with this external_ref." example:"invoice-4711"`
	Awaiting    string `query:"awaiting" enum:"me" doc:"me: only transactions that the caller may approve and has not approved yet, and that are submitted, or lack approvals by a policy that was set since; nothing for who may not approve."`
	Sort        string `query:"sort" enum:"date,-date,updated_at,-updated_at" default:"-date" doc:"Order; - for the latest first."`
	Fields      string `query:"fields" doc:"Only these members, with commas between." example:"id,status"`
	Selected
}

func (a *API) listTransactions(ctx context.Context, in *listTransactionsInput) (*view[readmodels.TransactionPage], error) {
	shape, err := shapeOf[readmodels.Transaction](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	query := readmodels.TransactionQuery{Status: in.Status, Q: in.Q, ExternalRef: in.ExternalRef}
	if query.Selection, err = in.selection(exchangeOf(ctx), in.Sort); err != nil {
		return nil, err
	}
	if query.AccountID, err = idParameter("account_id", in.AccountID); err != nil {
		return nil, err
	}
	if query.From, err = dateParameter("from", in.From); err != nil {
		return nil, err
	}
	if query.To, err = dateParameter("to", in.To); err != nil {
		return nil, err
	}
	caller := exchangeOf(ctx).caller
	if in.Awaiting != "" {
		query.AwaitingApprovalOf = caller.Person
		query.Nothing = !commands.Allowed(commands.TransactionsApprove, caller.Roles)
	}
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.TransactionPage, readmodels.Snapshot, error) {
		return a.reads.Transactions(ctx, caller.Org, query)
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

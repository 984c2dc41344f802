package httpapi

import (
	"context"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

type trialBalanceInput struct{ PointInTime }

func (a *API) getTrialBalance(ctx context.Context, in *trialBalanceInput) (*view[readmodels.TrialBalance], error) {
	point, err := in.point()
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	balance, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.TrialBalance, readmodels.Snapshot, error) {
		return a.reads.TrialBalance(ctx, org, point)
	})
	if err != nil {
		return nil, err
	}
	return answerList(ctx, balance, balance.Items, at, shape{}, nil)
}

// NewPolicy is the body that sets the policy of a currency.
type NewPolicy struct {
	Currency        string  `json:"currency" doc:"Code of ISO 4217." example:"EUR"`
	ApprovalAbove   *string `json:"approval_above" nullable:"true" doc:"The greatest amount that needs no approval, as a decimal string; null when nothing does." example:"1000.00"`
	ApprovalsNeeded int     `json:"approvals_needed,omitempty" minimum:"1" maximum:"10" default:"1" doc:"How many persons must approve what is above." example:"1"`
}

var policyResource = resource[readmodels.Policy]{kind: ledger.PolicyKind, view: func(r commands.Resource) (readmodels.Policy, error) {
	return readmodels.NewPolicy(r.State.(ledger.Policy), r.Version), nil
}}

type setPolicyInput struct{ Body NewPolicy }

func (a *API) setPolicy(ctx context.Context, in *setPolicyInput) (*receiptOutput[readmodels.Policy], error) {
	policy := ledger.NewPolicy{Currency: in.Body.Currency, ApprovalAbove: in.Body.ApprovalAbove, ApprovalsNeeded: in.Body.ApprovalsNeeded}
	return submit(ctx, a, transactions.SetPolicy{NewPolicy: policy}, policyResource)
}

// Policies is the policy of the currency that was asked for, or all policies. Who has one
// alone finds it where it was put, without asking for its currency.
type Policies struct {
	Currency        *string             `json:"currency,omitempty" doc:"That of the policy that was asked for, or of the only one; absent when there are several." example:"EUR"`
	ApprovalAbove   *string             `json:"approval_above,omitempty" doc:"The greatest amount that needs no approval; absent when nothing does." example:"1000.00"`
	ApprovalsNeeded *int                `json:"approvals_needed,omitempty" doc:"How many persons must approve what is above." example:"1"`
	Version         *int64              `json:"version,omitempty" doc:"Counts the changes of that policy." example:"1"`
	Items           []readmodels.Policy `json:"items" doc:"The policies, by currency."`
}

type getPolicyInput struct {
	Currency string `query:"currency" doc:"Only the policy of this currency, also beside items." example:"EUR"`
}

func (a *API) getPolicy(ctx context.Context, in *getPolicyInput) (*view[Policies], error) {
	if fault := domain.CurrencyFault(in.Currency); in.Currency != "" && fault != "" {
		return nil, invalidParameter("currency", fault)
	}
	org := exchangeOf(ctx).caller.Org
	page, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.PolicyPage, readmodels.Snapshot, error) {
		return a.reads.Policies(ctx, org, in.Currency)
	})
	if err != nil {
		return nil, err
	}
	if in.Currency != "" && len(page.Items) == 0 {
		return nil, problem.New(problem.NotFound, "not_found", "There is no policy for this currency: nothing in it needs approval.")
	}
	shown := Policies{Items: page.Items}
	if len(page.Items) == 1 {
		p := page.Items[0]
		shown.Currency, shown.ApprovalAbove, shown.ApprovalsNeeded, shown.Version = &p.Currency, p.ApprovalAbove, &p.ApprovalsNeeded, &p.Version
	}
	if in.Currency != "" {
		return answerOne(ctx, shown, at, *shown.Version, shape{}, nil)
	}
	return answerList(ctx, shown, shown.Items, at, shape{}, nil)
}

// ClosedPeriods is the body that closes periods.
type ClosedPeriods struct {
	ClosedThrough *string `json:"closed_through" nullable:"true" doc:"The last date that nothing can be posted on any more; null to open all." example:"2026-01-31"`
}

var periodsResource = resource[readmodels.Periods]{kind: ledger.PeriodsKind, view: func(r commands.Resource) (readmodels.Periods, error) {
	return readmodels.NewPeriods(r.State.(ledger.Periods), r.Version), nil
}}

type closePeriodsInput struct{ Body ClosedPeriods }

func (a *API) closePeriods(ctx context.Context, in *closePeriodsInput) (*receiptOutput[readmodels.Periods], error) {
	return submit(ctx, a, transactions.ClosePeriods{Through: in.Body.ClosedThrough}, periodsResource)
}

func (a *API) getPeriods(ctx context.Context, _ *struct{}) (*view[readmodels.Periods], error) {
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Periods, readmodels.Snapshot, error) {
		return a.reads.Periods(ctx, org)
	})
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, found, at, found.Version, shape{}, nil)
}

package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxPreviewed is how many entities a dry run goes through: some seconds of work.
	maxPreviewed = 10_000
	// maxPreviewTime bounds a dry run that takes longer.
	maxPreviewTime = 20 * time.Second
	// maxExamples is how many entities that would fail a dry run names.
	maxExamples = 20
)

// BulkPreview is what a bulk update would do, if nobody else writes.
type BulkPreview struct {
	Total      int        `json:"total" doc:"How many entities the filter finds of those that the caller sees." example:"1200"`
	Processed  int        `json:"processed" doc:"How many of them were gone through: 10,000 at most, and those that some 20 seconds are enough for." example:"1200"`
	Updated    int        `json:"updated" doc:"Of these, how many would be changed." example:"1190"`
	Unchanged  int        `json:"unchanged" doc:"How many are as they should be." example:"7"`
	Failed     int        `json:"failed" doc:"How many would be refused." example:"3"`
	Errors     []JobError `json:"errors" doc:"The first 20 that would be refused."`
	SelectedAt int64      `json:"selected_at" doc:"The position of the view that they were selected in." example:"4711"`
}

// previewBulkUpdate takes the steps that the job would take, as dry runs.
func (a *API) previewBulkUpdate(ctx context.Context, start entities.StartBulkUpdate) (*BulkPreview, error) {
	frame, err := a.submission(exchangeOf(ctx), nil)
	if err != nil {
		return nil, err
	}
	update := start.Update
	update.By, update.Day = domain.OwnerOf(frame.Meta), start.Days[0]
	frame.Meta.IfMatch = nil
	state, err := update.Preview()
	if err != nil {
		return nil, err
	}
	preview := &BulkPreview{Total: len(update.Selected), SelectedAt: update.SelectedAt, Errors: []JobError{}}
	var pace commands.Pace
	for until := time.Now().Add(maxPreviewTime); len(state.Next(0)) > 0 && state.Done < maxPreviewed && time.Now().Before(until); {
		frame.Decider = entities.AdvanceBulkUpdate{ID: update.ID, Pace: pace, Preview: &state}
		receipt, err := a.send(ctx, frame)
		if p := problem.Of(err); err != nil && (p != nil && (p.Kind == problem.Unavailable || p.Kind == problem.OutcomeUnknown) || !pace.Failed(err)) {
			return nil, err
		}
		if err != nil {
			continue
		}
		pace.Done()
		if err := preview.add(&state, receipt); err != nil {
			return nil, err
		}
	}
	return preview, nil
}

// add counts what a step would do, and moves on.
func (p *BulkPreview) add(state *entity.BulkUpdate, receipt commands.Receipt) error {
	for _, event := range receipt.Events {
		var progressed entity.BulkUpdateProgressed
		if event.Type != progressed.EventType() {
			continue
		}
		if err := json.Unmarshal(event.Data, &progressed); err != nil {
			return fmt.Errorf("reading what a step would do: %w", err)
		}
		p.Updated, p.Unchanged, p.Failed = p.Updated+progressed.Updated, p.Unchanged+progressed.Unchanged, p.Failed+len(progressed.Failed)
		for _, failure := range progressed.Failed[:min(len(progressed.Failed), maxExamples-len(p.Errors))] {
			p.Errors = append(p.Errors, JobError{Item: failure.Item, Code: failure.Code, Detail: meaningOf(failure.Code), Errors: failure.Fields})
		}
		p.Processed, state.Done = progressed.Through, progressed.Through
		return nil
	}
	return fmt.Errorf("a step of a dry run does not say how far it is")
}

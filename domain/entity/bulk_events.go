package entity

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// BulkUpdateStarted begins a job that changes many entities in the same way. Stream
// bulk_update:<id>; it carries the tag of the jobs of its day, as does the event that ends
// it. The entities follow in events BulkUpdateSelected.
type BulkUpdateStarted struct {
	By  domain.JobOwner `json:"by"`
	Day string          `json:"day"`
	// Total is how many entities are selected, by Filter, in the view at SelectedAt.
	Total      int        `json:"total"`
	Filter     BulkFilter `json:"filter"`
	SelectedAt int64      `json:"selected_at"`
	// Names are the attributes that the merge patch is about. Attributes is the patch, sealed
	// by a key of the job's own, which is destroyed when the job has ended.
	Names      []string        `json:"names,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
	// Tags, when not nil, replace all tags.
	Tags []string `json:"tags,omitzero"`
	// Merge changes entities, too, that were changed since they were selected.
	Merge bool `json:"merge,omitzero"`
	// Reason is why, sealed by that key, too: of whom it speaks shows when they are changed.
	Reason json.RawMessage `json:"reason,omitempty"`

	// Patch and Because are sealed before the event is recorded.
	Patch   *domain.Secret `json:"-"`
	Because *domain.Secret `json:"-"`
}

// BulkFilter is what of a filter may be in the log: what may be personal is told by name.
type BulkFilter struct {
	Type   string `json:"type,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Status string `json:"status,omitempty"`
	// Others are the fields that were compared with something, as attr.age[gte].
	Others []string `json:"others,omitempty"`
}

// BulkUpdateSelected names entities of the job, each in the version in which it was
// selected.
type BulkUpdateSelected struct {
	IDs      []uuid.UUID `json:"ids"`
	Versions []int64     `json:"versions"`
}

// BulkUpdateProgressed says what became of the next entities. Their own events are
// recorded together with it.
type BulkUpdateProgressed struct {
	// Through is how many entities are behind the job now.
	Through   int                 `json:"through"`
	Updated   int                 `json:"updated"`
	Unchanged int                 `json:"unchanged"`
	Failed    []domain.JobFailure `json:"failed,omitempty"`
}

// BulkUpdateCompleted says that all entities were gone through.
type BulkUpdateCompleted struct{}

// BulkUpdateCancelled ends the job; what was changed stays so.
type BulkUpdateCancelled struct{}

// BulkUpdateFailed ends the job because it cannot go on.
type BulkUpdateFailed struct {
	Code string `json:"code"`
}

// BulkUpdateCleared says that the key of an ended job was destroyed: its patch is in its
// event still, and nobody can read it.
type BulkUpdateCleared struct{}

// EventType names the event.
func (BulkUpdateStarted) EventType() string { return "bulk_update.started" }

// EventType names the event.
func (BulkUpdateSelected) EventType() string { return "bulk_update.selected" }

// EventType names the event.
func (BulkUpdateProgressed) EventType() string { return "bulk_update.progressed" }

// EventType names the event.
func (BulkUpdateCompleted) EventType() string { return "bulk_update.completed" }

// EventType names the event.
func (BulkUpdateCancelled) EventType() string { return "bulk_update.cancelled" }

// EventType names the event.
func (BulkUpdateFailed) EventType() string { return "bulk_update.failed" }

// EventType names the event.
func (BulkUpdateCleared) EventType() string { return "bulk_update.cleared" }

// BulkUpdateEvents are the events of this kind of job, empty.
func BulkUpdateEvents() []domain.JobPayload {
	return []domain.JobPayload{
		BulkUpdateStarted{}, BulkUpdateSelected{}, BulkUpdateProgressed{}, BulkUpdateCompleted{}, BulkUpdateCancelled{}, BulkUpdateFailed{}, BulkUpdateCleared{},
	}
}

// Where the event has the sealed patch and the sealed reason.
const (
	patchPointer  = "/attributes"
	reasonPointer = "/reason"
)

// Seal implements domain.Sealable.
func (s BulkUpdateStarted) Seal(seal func(string, domain.Secret) (domain.Sealed, error)) (domain.Payload, error) {
	if s.Patch != nil {
		value, err := seal(patchPointer, *s.Patch)
		if err != nil {
			return s, err
		}
		s.Attributes, s.Patch = value.Data(), nil
	}
	if s.Because != nil {
		value, err := seal(reasonPointer, *s.Because)
		if err != nil {
			return s, err
		}
		s.Reason, s.Because = value.Data(), nil
	}
	return s, nil
}

// BulkAbout is what is shown of the request.
type BulkAbout struct {
	Filter     BulkFilter `json:"filter"`
	SelectedAt int64      `json:"selected_at"`
	Names      []string   `json:"attributes"`
	Tags       []string   `json:"tags,omitzero"`
	Merge      bool       `json:"merge"`
}

// JobChange implements domain.JobPayload.
func (s BulkUpdateStarted) JobChange() domain.JobChange {
	about, _ := json.Marshal(BulkAbout{s.Filter, s.SelectedAt, append([]string{}, s.Names...), s.Tags, s.Merge}) // texts and numbers always can be
	return domain.JobChange{
		State: domain.JobRunning,
		Start: &domain.JobStart{Kind: BulkUpdateKind, Total: s.Total, By: s.By, About: about},
	}
}

// JobChange implements domain.JobPayload.
func (BulkUpdateSelected) JobChange() domain.JobChange { return domain.JobChange{} }

// JobChange implements domain.JobPayload.
func (p BulkUpdateProgressed) JobChange() domain.JobChange {
	return domain.JobChange{
		Done: domain.JobCounts{Updated: p.Updated, Unchanged: p.Unchanged, Failed: len(p.Failed)}, Failures: p.Failed,
	}
}

// JobChange implements domain.JobPayload.
func (BulkUpdateCompleted) JobChange() domain.JobChange {
	return domain.JobChange{State: domain.JobCompleted}
}

// JobChange implements domain.JobPayload.
func (BulkUpdateCancelled) JobChange() domain.JobChange {
	return domain.JobChange{State: domain.JobCancelled}
}

// JobChange implements domain.JobPayload.
func (f BulkUpdateFailed) JobChange() domain.JobChange {
	return domain.JobChange{State: domain.JobFailed, Code: f.Code}
}

// JobChange implements domain.JobPayload.
func (BulkUpdateCleared) JobChange() domain.JobChange { return domain.JobChange{Cleared: true} }

package entity_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var events = domaintest.Events{
	Kinds: entity.Kinds(), Folds: entity.Folds(), Stream: "entity:x", Samples: samples,
}

var samples = map[string][]domain.Payload{
	"entity_type.defined": {entity.TypeDefined{
		Name: "customer", Title: "Customer",
		Schema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`),
	}, entity.TypeDefined{
		Name: "customer", Title: "Customer", Schema: json.RawMessage(`{}`),
		Relationships: []entity.RelationshipKind{
			{Kind: "employer", Target: "company", OnArchive: "restrict"}, {Kind: "parent", Target: "customer", OnArchive: "detach", Acyclic: true},
		},
	}, entity.TypeDefined{Name: "customer", Title: "Customer", Schema: json.RawMessage(`{}`), Search: []string{"name", "city"}}, entity.TypeDefined{
		Name: "patient", Title: "Patient", Schema: json.RawMessage(`{}`), Sensitive: []string{"diagnosis"}, DataSubject: true, AuditReads: "all",
	}},
	"relationship.added": {entity.RelationshipAdded{Kind: "employer", TargetID: other, SourceType: "customer", TargetType: "company"}},
	"relationship.removed": {
		entity.RelationshipRemoved{Kind: "employer", TargetID: other},
		entity.RelationshipRemoved{Kind: "employer", TargetID: other, Detached: true},
	},
	"entity.created": {
		entity.Created{
			Type: "customer", Key: "C-17/ü",
			Attributes: map[string]json.RawMessage{
				"address": json.RawMessage(`{"city":"Paris","zip":"75001"}`),
				"name":    json.RawMessage(`"Ana"`),
				"rating":  json.RawMessage(`4.50`),
			},
			Tags: []string{"gold", "vip"},
		},
		entity.Created{Type: "customer", Attributes: map[string]json.RawMessage{}, Tags: []string{}},
		entity.Created{Type: "customer", Attributes: map[string]json.RawMessage{}, Tags: []string{}, TypeVersion: 3},
		entity.Created{
			Type: "patient", Tags: []string{}, TypeVersion: 1, SealedKey: json.RawMessage(`{"$sealed":"AQ4","subject":"0190aaaa-0000-7000-8000-000000000001"}`),
			Attributes: map[string]json.RawMessage{
				"diagnosis": json.RawMessage(`{"$sealed":"AQ8","subject":"0190aaaa-0000-7000-8000-000000000001","sensitive":true}`),
				"name":      json.RawMessage(`{"$sealed":"ARA","subject":"0190aaaa-0000-7000-8000-000000000001"}`),
			},
		},
	},
	"entity.updated": {
		entity.Updated{Attributes: map[string]json.RawMessage{"name": json.RawMessage(`"Eva"`), "rating": json.RawMessage(`null`)}, Tags: []string{"gold"}},
		entity.Updated{Tags: []string{}},
		entity.Updated{Tags: []string{}, TypeVersion: 4},
	},
	"entity.archived": {entity.Archived{}},
	"entity.access_changed": {
		entity.AccessChanged{Entries: []entity.ACLEntry{
			{Principal: "group:sales", Rights: []entity.Right{entity.MayRead, entity.MayWrite}},
			{Principal: "user:ana", Rights: []entity.Right{entity.MayShare}},
			{Principal: "user:ana", Rights: []entity.Right{entity.MayWrite}, Deny: true},
		}},
		entity.AccessChanged{Entries: []entity.ACLEntry{}},
	},
	"bulk_update.started": {entity.BulkUpdateStarted{
		By: domain.JobOwner{Actor: domain.Actor{Sub: "ana", Person: "p-7"}, Roles: []string{"editor"}, Groups: []string{"sales"}}, Day: "2026-03-01", Total: 2,
		Filter: entity.BulkFilter{Type: "customer", Tag: "vip", Status: "active", Others: []string{"attr.city[eq]", "q"}}, SelectedAt: 4711,
		Names: []string{"segment"}, Attributes: json.RawMessage(`{"$sealed":"AQ8","subject":"0190aaaa-0000-7000-8000-0000000000aa","sensitive":true}`),
		Tags: []string{"gold"}, Merge: true,
		Reason: json.RawMessage(`{"$sealed":"AQ9","subject":"0190aaaa-0000-7000-8000-0000000000aa","sensitive":true}`),
	}, entity.BulkUpdateStarted{
		By: domain.JobOwner{Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{}, Groups: []string{}}, Day: "2026-03-01", Tags: []string{},
	}},
	"bulk_update.selected": {entity.BulkUpdateSelected{IDs: []uuid.UUID{other}, Versions: []int64{3}}},
	"bulk_update.progressed": {
		entity.BulkUpdateProgressed{Through: 3, Updated: 1, Unchanged: 1, Failed: []domain.JobFailure{
			{Item: other.String(), Code: "invalid_attributes", Fields: []problem.Field{{Location: "body.attributes/name", Message: "is required"}}},
		}},
		entity.BulkUpdateProgressed{Through: 100, Updated: 100},
	},
	"bulk_update.completed": {entity.BulkUpdateCompleted{}},
	"bulk_update.cancelled": {entity.BulkUpdateCancelled{}},
	"bulk_update.failed":    {entity.BulkUpdateFailed{Code: "job_data_lost"}},
	"bulk_update.cleared":   {entity.BulkUpdateCleared{}},
	"entity.restored":       {entity.Restored{}, entity.Restored{TypeVersion: 4}},
}

func TestGoldenEvents(t *testing.T) { events.Golden(t) }

func FuzzDecode(f *testing.F) { events.FuzzDecode(f) }

package entities_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// patientDefined makes a type of data subjects, of whom the diagnosis is sensitive.
func patientDefined(sensitive ...string) domain.Fact {
	return domain.Fact{Stream: "entity_type:patient", Payload: entity.TypeDefined{
		Name: "patient", Title: "Patient", Schema: json.RawMessage(`{"type":"object"}`), DataSubject: true, Sensitive: sensitive,
	}}
}

func secret(value string, sensitive bool) domain.Secret {
	return domain.NewSecret(json.RawMessage(value), sensitive, ana.String())
}

// anaAdmitted is the first patient, with the key P-1.
func anaAdmitted() domain.Fact {
	key := secret(`"P-1"`, false)
	return domain.Fact{
		Stream: entity.Stream(ana), Tags: []domain.Tag{"key:patient/token-1", "entity_type:patient"}, Subjects: []string{ana.String()},
		Payload: entity.Created{
			Type: "patient", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1, SecretKey: &key,
			Secrets: map[string]domain.Secret{"name": secret(`"Ana"`, false), "diagnosis": secret(`{"code":"A1"}`, true)},
		},
	}
}

func TestDataSubjectsAreSealedWhole(t *testing.T) {
	create := entities.CreateEntity{ID: ana, Type: "patient", Key: "P-1", Attributes: attrs(`{"name":"Ana","diagnosis":{"code":"A1"}}`)}
	s := given(t, patientDefined("diagnosis")).When(create).
		Named(entity.Stream(ana), "entity_type:patient", "key:patient/token-1", domain.SubjectTag(ana.String())).
		Then(anaAdmitted())
	// The key is taken, whatever its tag says, and a key of another name is not.
	s.When(entities.CreateEntity{ID: bob, Type: "patient", Key: "P-1", Attributes: attrs(`{}`)}).ThenProblem("key_taken")

	// What a patch leaves alone keeps its ciphertext; what it names and does not change, too.
	s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":"Ana"}}`)}).ThenNothing()
	s = s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"diagnosis":{"since":2020}}}`)}).
		Named(entity.Stream(ana), "entity_type:patient", domain.SubjectTag(ana.String())).
		Then(domain.Fact{Stream: entity.Stream(ana), Subjects: []string{ana.String()}, Payload: entity.Updated{
			Attributes: attrs(`{}`), Secrets: map[string]domain.Secret{"diagnosis": secret(`{"code":"A1","since":2020}`, true)},
		}})
	s = s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":null}}`)}).
		Then(domain.Fact{Stream: entity.Stream(ana), Subjects: []string{ana.String()}, Payload: entity.Updated{Attributes: attrs(`{"name":null}`)}})
	s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"diagnosis":"***"}}`)}).ThenProblem("masked_value")
	s.Erase(ana.String()).When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"city":"Paris"}}`)}).ThenProblem("subject_erased")
}

func TestSensitiveAttributesAreSealed(t *testing.T) {
	defined := customerDefined(customerSchema)
	payload := defined.Payload.(entity.TypeDefined)
	payload.Sensitive = []string{"iban"}
	defined.Payload = payload
	s := given(t, defined).When(entities.CreateEntity{ID: ana, Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Ana","iban":"DE1"}`)}).
		Named(entity.Stream(ana), "entity_type:customer", "key:customer/A-1", domain.SubjectTag(ana.String())).
		Then(domain.Fact{
			Stream: entity.Stream(ana), Tags: []domain.Tag{"key:customer/A-1", "entity_type:customer"},
			Payload: entity.Created{
				Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Ana"}`), Tags: []string{}, TypeVersion: 1,
				Secrets: map[string]domain.Secret{"iban": secret(`"DE1"`, true)},
			},
		})
	s.When(entities.CreateEntity{ID: bob, Type: "customer", Attributes: attrs(`{"name":"Bob","iban":"***"}`)}).ThenProblem("masked_value")
	// What was sealed stays so, and is masked, when the type does not ask for it any more.
	opened := entities.DefineEntityType{Name: "customer", Title: "Customer", Schema: json.RawMessage(customerSchema), Force: true}
	s.When(opened).Then(customerDefined(customerSchema))
	masked := entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"iban":"***"}}`)}
	s.When(masked).ThenProblem("masked_value")
	s.When(entities.ArchiveEntity{ID: ana})
	s.When(entities.RestoreEntity{ID: ana, Patch: masked.Patch}).ThenProblem("masked_value")
	s.When(entities.RestoreEntity{ID: ana})
	// The schema sees what is sealed: the name is required, and there.
	s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"iban":null}}`)}).
		Then(domain.Fact{Stream: entity.Stream(ana), Payload: entity.Updated{Attributes: attrs(`{"iban":null}`)}})
}

func TestWhatIsSealedCannotChangeUnderEntities(t *testing.T) {
	define := entities.DefineEntityType{Name: "patient", Title: "Patient", Schema: json.RawMessage(`{"type":"object"}`), DataSubject: true, Sensitive: []string{"diagnosis"}}
	given(t).When(define).Then(patientDefined("diagnosis"))
	given(t, patientDefined("diagnosis")).When(define).ThenNothing()
	used := given(t, patientDefined("diagnosis", "name"), anaAdmitted())

	grown := define
	grown.Sensitive = []string{"diagnosis", "iban"}
	used.When(grown).ThenProblem("conflict")
	given(t, patientDefined("diagnosis")).When(grown).Then(patientDefined("diagnosis", "iban"))
	opened := define
	opened.DataSubject = false
	used.When(opened).ThenProblem("conflict")
	// What is sealed already stays so. That what comes is not has to be said, so that nobody
	// opens secrets by leaving a line out.
	used.When(define).ThenProblem("unsealing_change")
	define.Force = true
	used.When(define).Then(patientDefined("diagnosis"))
	define.Force, define.Sensitive = false, nil
	used.When(define).ThenProblem("unsealing_change")
	given(t, patientDefined("diagnosis", "name")).When(define).Then(patientDefined())
	define.Sensitive, define.AuditReads = []string{"diagnosis"}, "all"
	recorded := patientDefined("diagnosis")
	payload := recorded.Payload.(entity.TypeDefined)
	payload.AuditReads = "all"
	recorded.Payload = payload
	used.When(define).Then(recorded)
	define.AuditReads = "sensitive"
	if p := used.When(define).ThenProblem("unsealing_change"); len(p.Fields) != 1 || p.Fields[0].Location != "body.audit_reads" {
		t.Errorf("%v", p.Fields)
	}
	define.Force = true
	used.When(define).Then(patientDefined("diagnosis"))

	for _, wrong := range [][]string{{""}, {"a", "a"}, {"$sealed"}} {
		define.Sensitive = wrong
		given(t).When(define).ThenProblem("invalid_sensitive")
	}
	define.Sensitive, define.Search = []string{"name"}, []string{"name"}
	given(t).When(define).ThenProblem("invalid_sensitive")
	define.Search, define.AuditReads = nil, "some"
	given(t).When(define).ThenProblem("invalid_audit_reads")
}

// Whatever happens to a person, the event says whom it is about, so that why is sealed and
// the events of a person are found. A relationship is about both of its ends.
func TestEventsOfPersonsAreAboutThem(t *testing.T) {
	admitted := func(id uuid.UUID) domain.Fact {
		fact := domain.Fact{Stream: entity.Stream(id), Subjects: []string{id.String()}}
		fact.Payload = entity.Created{Type: "patient", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1}
		return fact
	}
	defined := patientDefined()
	typ := defined.Payload.(entity.TypeDefined)
	typ.Relationships = []entity.RelationshipKind{
		{Kind: "friend", Target: "patient", OnArchive: "detach"},
		{Kind: "doctor", Target: "customer", OnArchive: "detach"},
	}
	defined.Payload = typ
	doctor := uuid.MustParse("0190aaaa-0000-7000-8000-00000000000d")
	s := given(t, customerDefined(`{}`), defined, admitted(ana), admitted(bob), created(doctor))
	about := func(subjects ...uuid.UUID) (names []string) {
		for _, id := range subjects {
			names = append(names, id.String())
		}
		return names
	}
	subjects := func(o *domaintest.Outcome) (found [][]string) {
		t.Helper()
		require.NoError(t, o.Err)
		for _, fact := range o.Decision.Facts {
			found = append(found, fact.Subjects)
		}
		return found
	}
	assert.Equal(t, [][]string{about(ana, bob)}, subjects(s.When(entities.AddRelationship{ID: ana, Kind: "friend", TargetID: bob})))
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.AddRelationship{ID: ana, Kind: "friend", TargetID: ana})))
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.AddRelationship{ID: ana, Kind: "doctor", TargetID: doctor})))
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.ShareEntity{ID: ana, Entries: []entity.ACLEntry{{Principal: "user:ana", Rights: entity.Rights()}}})))
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"tags":["x"]}`)})))
	assert.Equal(t, [][]string{nil, about(ana)}, subjects(s.When(entities.ArchiveEntity{ID: doctor})), "who referred to it is a person")
	assert.Equal(t, [][]string{about(bob), about(ana, bob)}, subjects(s.When(entities.ArchiveEntity{ID: bob})))
	assert.Equal(t, [][]string{about(bob)}, subjects(s.When(entities.RestoreEntity{ID: bob})))
	s.When(entities.AddRelationship{ID: ana, Kind: "friend", TargetID: bob})
	assert.Equal(t, [][]string{about(ana, bob)}, subjects(s.When(entities.RemoveRelationship{ID: ana, Kind: "friend", TargetID: bob})))
	s.When(entities.AddRelationship{ID: ana, Kind: "friend", TargetID: bob})
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.ArchiveEntity{ID: ana})))
	assert.Equal(t, [][]string{about(bob), about(ana, bob)}, subjects(s.When(entities.ArchiveEntity{ID: bob})))
	assert.Equal(t, [][]string{about(ana)}, subjects(s.When(entities.RestoreEntity{ID: ana})))
}

// A kind that came to let go of its targets lets go of those that were archived meanwhile.
func TestRestoringAPersonIsAboutWhomItRefersToNoMore(t *testing.T) {
	admitted := func(id uuid.UUID) domain.Fact {
		return domain.Fact{Stream: entity.Stream(id), Subjects: []string{id.String()}, Payload: entity.Created{Type: "patient", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1}}
	}
	kinds := func(onArchive string) domain.Fact {
		defined := patientDefined()
		typ := defined.Payload.(entity.TypeDefined)
		typ.Relationships = []entity.RelationshipKind{{Kind: "parent", Target: "patient", OnArchive: onArchive}}
		defined.Payload = typ
		return defined
	}
	related := domain.Fact{
		Stream: entity.Stream(ana), Tags: []domain.Tag{entity.OutgoingTag(ana), entity.IncomingTag(bob)}, Subjects: []string{ana.String(), bob.String()},
		Payload: entity.RelationshipAdded{Kind: "parent", TargetID: bob, SourceType: "patient", TargetType: "patient"},
	}
	restored := given(t, kinds("restrict"), admitted(ana), admitted(bob), related, archived(ana, bob), archived(bob), kinds("detach")).
		When(entities.RestoreEntity{ID: ana})
	require.NoError(t, restored.Err)
	require.Len(t, restored.Decision.Facts, 2)
	assert.Equal(t, []string{ana.String()}, restored.Decision.Facts[0].Subjects)
	assert.Equal(t, []string{ana.String(), bob.String()}, restored.Decision.Facts[1].Subjects)
}

package httpapi

import (
	"net/http"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/readmodels"
)

// routes is the whole API: what is not listed here, and in ledgerRoutes, does not exist.
// The two pages for people and the document for programs are in pages.
func (a *API) routes() []*route {
	return append(a.ledgerRoutes(), []*route{
		{
			Method: http.MethodPut, Path: "/api/v1/entity-types/{name}", ID: "defineEntityType",
			Kind: command, Permission: commands.EntityTypesWrite, Status: http.StatusOK, Creates: true,
			Tag: "Entity types", Summary: "Define an entity type, or change its definition",
			Description: "Makes the type, or replaces its definition as a whole. A new schema binds what is written from then on; what is there stays as it is. One that could refuse what is valid now is 409 narrowing_change unless force is true; impact says how many entities do not follow it.",
			MaxBody:     eventBytes,
			register:    handle(a.defineEntityType),
		},
		{
			Method: http.MethodGet, Path: basePath + "/audit/access", ID: "listAccesses",
			Kind: query, Permission: commands.AuditRead, Status: http.StatusOK,
			Tag: "Audit", Summary: "Who has seen what of whom",
			Description: "Each time that sensitive values were shown in clear, and each read of entities of types with audit_reads all, the latest first. What one request has shown of many entities is one record, or several when there are more than some hundred. Give subject or actor, or both.",
			register:    handle(a.listAccesses),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entity-types/{name}", ID: "getEntityType",
			Kind: query, Permission: commands.EntityTypesRead, Status: http.StatusOK,
			Tag: "Entity types", Summary: "Read an entity type",
			Description: "Its definition as it is now, with the JSON Schema that attributes of its entities must follow.",
			register:    handle(a.getEntityType),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entity-types", ID: "listEntityTypes",
			Kind: query, Permission: commands.EntityTypesRead, Status: http.StatusOK,
			Tag: "Entity types", Summary: "List entity types",
			Description: "By name. Types are few; a page holds most of them.",
			register:    handle(a.listEntityTypes),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/members", ID: "listMembers",
			Kind: query, Permission: commands.MembersRead, Status: http.StatusOK,
			Tag: "Organization", Summary: "List the members of the organisation",
			Description: "Who has called with a token of this organisation, with the roles and groups of the latest token. What somebody may do, their token alone says.",
			register:    handle(a.listMembers),
		},
		{
			Method: http.MethodPost, Path: "/api/v1/entities", ID: "createEntity",
			Kind: command, Permission: commands.EntitiesWrite, Status: http.StatusCreated,
			Tag: "Entities", Summary: "Create an entity",
			Description: "Its attributes must follow the schema of its type. A key, if it has one, is taken by one entity of the type only, archived ones included.",
			MaxBody:     eventBytes,
			register:    handle(a.createEntity),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities", ID: "listEntities",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "List entities",
			Description: "All filters must match. as_of gives the whole of it as it was at a time, answered at the position in Hub-Position. Pages stay stable while others write: sorted by creation or key, an entity that is there all the time is seen exactly once. A page that is not the last has a next_cursor.",
			Filters:     readmodels.EntityFilters(),
			register:    handle(a.listEntities),
		},
		{
			Method: http.MethodPost, Path: bulkUpdatesPath, ID: "startBulkUpdate",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusAccepted,
			Tag: "Entities", Summary: "Change all entities that a filter finds",
			Description: "By one merge patch, as a job: which entities they are is fixed now, 100,000 at most of those that the caller sees, and each is then changed as a patch of it alone would, as the caller and with the rights that the caller has now. What is refused is listed and holds up nothing else. A dry run goes through the first 10,000 and says how many would be changed, and what would be refused.",
			register:    handle(a.startBulkUpdate),
		},
		{
			Method: http.MethodGet, Path: bulkUpdatesPath, ID: "listBulkUpdates",
			Kind: query, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "List bulk updates",
			Description: "Those that the caller has started; admins see all. The latest first.",
			register:    handle(a.listBulkUpdates),
		},
		{
			Method: http.MethodGet, Path: bulkUpdatesPath + "/{id}", ID: "getBulkUpdate",
			Kind: query, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Read how far a bulk update is",
			Description: "Counts go up step by step, each of up to 100 entities.",
			register:    handle(a.getBulkUpdate),
		},
		{
			Method: http.MethodGet, Path: bulkUpdatesPath + "/{id}/errors", ID: "listBulkErrors",
			Kind: query, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "List the entities that a bulk update could not change",
			Description: "With the code and the first faults of each, in JSON by pages or as CSV as a whole.",
			register:    handle(a.listJobErrors(entity.BulkUpdateKind)),
		},
		{
			Method: http.MethodPost, Path: bulkUpdatesPath + "/{id}/cancel", ID: "cancelBulkUpdate",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Cancel a bulk update",
			Description: "Nothing is changed by it after the receipt; what was changed stays so. Doing so twice changes nothing and answers no events.",
			register:    handle(a.cancelBulkUpdate),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities/{id}", ID: "getEntity",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "Read an entity",
			Description: "As it is, or with as_of or at_version as it was: the state at the position in Hub-Position.",
			register:    handle(a.getEntity),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities/{id}/history", ID: "getEntityHistory",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "Read how an entity became what it is",
			Description: "Every version from the first on, however many and however old, of archived entities too: who made it, when and why, and each value before and after. Sensitive values read ***.",
			register:    handle(a.getEntityHistory),
		},
		{
			Method: http.MethodPatch, Path: "/api/v1/entities/{id}", ID: "patchEntity",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Change attributes and tags of an entity",
			Description: "A JSON merge patch (RFC 7396) of attributes and tags. The result as a whole must follow the type's schema.",
			Media:       []string{"application/merge-patch+json", "application/json"},
			MaxBody:     eventBytes,
			register:    handle(a.patchEntity),
		},
		{
			Method: http.MethodDelete, Path: "/api/v1/entities/{id}", ID: "deleteEntity",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Archive an entity",
			Description: "The same as POST on the entity's archive: it is taken out of use, nothing is destroyed, and its key stays taken.",
			register:    handle(a.archiveEntity),
		},
		{
			Method: http.MethodPost, Path: "/api/v1/entities/{id}/archive", ID: "archiveEntity",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Archive an entity",
			Description: "It is taken out of use: lists leave it out unless asked for it, and it cannot be changed until it is restored. Nothing is destroyed.",
			register:    handle(a.archiveEntity),
		},
		{
			Method: http.MethodPost, Path: "/api/v1/entities/{id}/restore", ID: "restoreEntity",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Restore an archived entity",
			Description: "Takes it back into use as it was archived, if it still follows its type; a body is a merge patch that makes it so. Doing so twice changes nothing and answers no events.",
			MaxBody:     eventBytes,
			Media:       []string{"application/merge-patch+json", "application/json"},
			register:    handle(a.restoreEntity),
		},
		{
			Method: http.MethodPost, Path: "/api/v1/entities/{id}/relationships", ID: "addRelationship",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Make an entity refer to another",
			Description: "By a kind that its type declares, to an entity in use of the type that the kind leads to. The version is that of the entity that refers. Doing so twice changes nothing and answers no events.",
			register:    handle(a.addRelationship),
		},
		{
			Method: http.MethodDelete, Path: "/api/v1/entities/{id}/relationships/{kind}/{target_id}", ID: "removeRelationship",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Make an entity refer to another no more",
			Description: "The version is that of the entity that referred. A relationship that is not there is 404.",
			register:    handle(a.removeRelationship),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities/{id}/relationships", ID: "listRelationships",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "What an entity refers to, or what refers to it",
			Description: "Up to five relationships away, each entity on the way once, so that circles end. Those of one step come in pages; of more, as many as limit, and truncated says whether there are others.",
			register:    handle(a.listRelationships),
		},
		{
			Method: http.MethodPut, Path: "/api/v1/entities/{id}/acl", ID: "shareEntity",
			Kind: command, Permission: commands.EntitiesChange, Status: http.StatusOK,
			Tag: "Entities", Summary: "Say who may do what with an entity",
			Description: "In place of all that was said before. With entries, only the principals named and admins see the entity at all, and roles allow nothing more; what somebody may not see is 404 everywhere and in no list, count or page. One can give only permissions that one holds.",
			register:    handle(a.shareEntity),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities/{id}/acl", ID: "getEntityACL",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "Read who may do what with an entity",
			Description: "Needs the permission share on the entity: admins have it, whom its entries give it to and, where it has none, who may write it.",
			register:    handle(a.getEntityACL),
		},
		{
			Method: http.MethodGet, Path: "/api/v1/entities/{id}/access", ID: "getEntityAccess",
			Kind: query, Permission: commands.EntitiesRead, Status: http.StatusOK,
			Tag: "Entities", Summary: "Explain what somebody may do with an entity",
			Description: "And why: by which roles or entries. Everybody may ask about themselves; about others, who may share the entity.",
			register:    handle(a.getEntityAccess),
		},
		{
			Method: http.MethodGet, Path: organizationPath, ID: "getOrganization",
			Kind: query, Permission: commands.OrganizationRead, Status: http.StatusOK,
			Tag: "Organization", Summary: "Read the organisation's settings",
			Description: "Every organisation has settings from the start, at version 0.",
			register:    handle(a.getOrganization),
		},
		{
			Method: http.MethodPut, Path: organizationPath, ID: "updateOrganization",
			Kind: command, Permission: commands.OrganizationWrite, Status: http.StatusOK,
			Tag: "Organization", Summary: "Set the organisation's settings",
			Description: "All of them: what is absent takes its default.",
			register:    handle(a.updateOrganization),
		},
		{
			Method: http.MethodGet, Path: basePath + "/me", ID: "getMe",
			Kind: personal, Status: http.StatusOK,
			Tag: "Organization", Summary: "Who the caller is, and what the caller may do",
			Description: "What the access token says, as the hub understands it, and what its roles allow.",
			register:    handle(a.getMe),
		},
		{
			Method: http.MethodGet, Path: eventsPath, ID: "listEvents",
			Kind: feed, Permission: commands.EventsRead, Status: http.StatusOK,
			Tag: "Events", Summary: "Read events in order, and wait for more",
			Description: "The organisation's events after a position, as a batch of CloudEvents. Go on after the Hub-Position of the answer: it also moves over events that a filter leaves out, and is further than the last event then. Send its Hub-Epoch as epoch, so that you are told should the log lose what you hold. With wait an answer without events comes only after that time. An access of your own, access.recorded, does not end the wait unless types names it.",
			register:    handle(a.listEvents),
		},
		{
			Method: http.MethodGet, Path: streamPath, ID: "streamEvents",
			Kind: feed, Permission: commands.EventsRead, Status: http.StatusOK, Tickets: true,
			Tag: "Events", Summary: "Follow events as they happen",
			Description: "Server-sent events, for EventSource and its like; from Last-Event-ID or after on without gap or repetition, as long as epoch is the same. The stream ends with the access token, with the epoch and with the process; its last event, end, says which. Accesses of your own, access.recorded, are left out unless types names them.",
			register:    handle(a.streamEvents),
		},
		{
			Method: http.MethodPost, Path: ticketsPath, ID: "createStreamTicket",
			Kind: personal, Status: http.StatusCreated,
			Tag: "Events", Summary: "Get a ticket to open a stream with",
			Description: "For EventSource, which cannot send an access token. A ticket opens one stream, once, as the caller and for as long as the caller's token is good. Nothing is kept of one that is not used.",
			register:    handle(a.issueTicket),
		},
		{
			Method: http.MethodGet, Path: operationsPath + "/views", ID: "listViews",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "How far the views are",
			Description: "The position of each view, of those that are built beside a live one too, and why one does not go on.",
			register:    handle(a.listViews),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/views/{name}/rebuild", ID: "rebuildView",
			Kind: operations, Permission: commands.Operations, Status: http.StatusAccepted,
			Tag: "Operations", Summary: "Build a view anew from the log",
			Description: "Beside the live one, which goes on answering until the new one has caught up. A rebuild that is under way already is joined.",
			register:    handle(a.requestJob("rebuild")),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/views/{name}/verify", ID: "verifyView",
			Kind: operations, Permission: commands.Operations, Status: http.StatusAccepted,
			Tag: "Operations", Summary: "Hold a view against the log",
			Description: "The job's findings say how many rows differ; hub projections verify names them.",
			register:    handle(a.requestJob("verify")),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/views/{name}/cancel", ID: "cancelJob",
			Kind: operations, Permission: commands.Operations, Status: http.StatusAccepted,
			Tag: "Operations", Summary: "Cancel the job that is under way for a view",
			Description: "What was done of it is thrown away; the live view is not touched.",
			register:    handle(a.cancelJob),
		},
		{
			Method: http.MethodGet, Path: operationsPath + "/jobs", ID: "listJobs",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "The jobs of the views, the latest first",
			Description: "Rebuilds, verifications and retries, of which one at a time is under way for a view. They are rows of the database: any projector does them, and takes them over from one that has died.",
			register:    handle(a.listJobs),
		},
		{
			Method: http.MethodGet, Path: operationsPath + "/parked", ID: "listParked",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "Streams that wait because an event of theirs cannot be applied",
			Description: "A view that cannot apply an event leaves out that stream from there on, and goes on with all others. The reason says what is needed.",
			register:    handle(a.listParked),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/parked/{name}/retry", ID: "retryParked",
			Kind: operations, Permission: commands.Operations, Status: http.StatusAccepted,
			Tag: "Operations", Summary: "Apply what the parked streams of a view have waiting",
			Description: "In order, and each event once. The job's findings say how many streams still wait.",
			register:    handle(a.requestJob("retry")),
		},
		{
			Method: http.MethodGet, Path: operationsPath + "/reactions", ID: "listReactions",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "How far the reactions are, and their parked events",
			Description: "What reacts to events, as notifications do; with the streams that wait because one of their events could not be handled.",
			register:    handle(a.listReactions),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/reactions/{name}/retry", ID: "retryReaction",
			Kind: operations, Permission: commands.Operations, Status: http.StatusAccepted,
			Tag: "Operations", Summary: "Take parked events of a reaction up again",
			Description: "Within a second or so, and then what is behind them in their streams.",
			register:    handle(a.changeParked("retry")),
		},
		{
			Method: http.MethodPost, Path: operationsPath + "/reactions/{name}/drop", ID: "dropReaction",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "Give parked events of a reaction up",
			Description: "Nothing follows from them any more; what is behind them in their streams goes on.",
			register:    handle(a.changeParked("drop")),
		},
		{
			Method: http.MethodGet, Path: operationsPath + "/relay", ID: "getRelay",
			Kind: operations, Permission: commands.Operations, Status: http.StatusOK,
			Tag: "Operations", Summary: "How far the copy of the log in JetStream is",
			Description: "Its position, that of the log, and in a sentence why nothing is published when that is so.",
			register:    handle(a.getRelay),
		},
		{
			Method: http.MethodGet, Path: healthPath, ID: "getHealth",
			Kind: open, Status: http.StatusOK,
			Tag: "Operation", Summary: "Health of the system and of what it depends on",
			Description: "For people and monitors; dependencies are probed every 5 s at most. Degraded (200) means that something is away that the system can live without; unhealthy is 503.",
			register:    handle(a.getHealth),
		},
		{
			Method: http.MethodGet, Path: livePath, ID: "isLive",
			Kind: probe, Status: http.StatusOK,
			Tag: "Operation", Summary: "Whether the process runs",
			Description: "200 for as long as the process answers at all. For an orchestrator that restarts what does not.",
			register:    handle(a.isLive),
		},
		{
			Method: http.MethodGet, Path: logLevelPath, ID: "getLogLevel",
			Kind: operator, Status: http.StatusOK,
			Tag: "Operation", Summary: "Read how much this process logs",
			Description: "Only on the address for operators, HUB_OPS_ADDR.",
			register:    handle(a.getLogLevel),
		},
		{
			Method: http.MethodPut, Path: logLevelPath, ID: "setLogLevel",
			Kind: operator, Status: http.StatusOK,
			Tag: "Operation", Summary: "Change how much this process logs, until it ends",
			Description: "Only on the address for operators, HUB_OPS_ADDR. The next start takes HUB_LOG_LEVEL again.",
			register:    handle(a.setLogLevel),
		},
		{
			Method: http.MethodGet, Path: readyPath, ID: "isReady",
			Kind: probe, Status: http.StatusOK,
			Tag: "Operation", Summary: "Whether the process can serve",
			Description: "200 while requests should be sent here, 503 while the process is stopping. For load balancers.",
			register:    handle(a.isReady),
		},
	}...)
}

// pages are the routes outside the API itself: its description, and pages for
// people. They take any process and no token.
func (a *API) pages() []page {
	pages := []page{
		{"/api/openapi.json", a.serveSpec},
		{asyncPath, a.serveAsyncSpec},
		{"/api/docs", serveDocs},
		{"/api/docs/problems", serveProblems},
		{"/api/docs/assets/{name}", serveAsset},
	}
	if a.showMetrics && a.registry != nil {
		pages = append(pages, page{metricsPath, a.registry.Handler().ServeHTTP})
	}
	return pages
}

// page is a route that huma knows nothing of.
type page struct {
	path    string
	handler http.HandlerFunc
}

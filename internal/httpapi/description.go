package httpapi

import "github.com/danielgtaylor/huma/v2"

// bearerScheme names the security scheme of the OpenAPI document.
const bearerScheme = "bearer"

// description is the start page of the OpenAPI document.
const description = `Commands and queries of Hub Backend.

A write answers a receipt; when it arrives, the events are on disk. With
Prefer: return=representation the receipt has the resource beside it, and with
?dry_run=true it tells what would happen, refusals included, and nothing is written.
Views follow a moment later: send the receipt's position as Hub-Min-Position with a read to be sure
to see your own write. Paths work without the version and with a slash at the end.
Errors are application/problem+json; branch on code, which is stable.`

// The parameters that every command and every query takes; the edge reads them
// itself, so huma does not know of them.
var (
	commandParameters = []*huma.Param{
		idempotencyHeader,
		headerParameter("If-Match", "Write only if this is still the version, as the ETag of a read or of a receipt; * for any version that exists.", `"3"`),
		ifNoneMatchHeader,
		reasonHeader,
		preferHeader,
		requestIDHeader,
		dryRunQuery,
	}
	manyParameters      = []*huma.Param{idempotencyHeader, reasonHeader, requestIDHeader, dryRunQuery}
	operationParameters = []*huma.Param{idempotencyHeader, requestIDHeader, dryRunQuery}
	queryHeaders        = []*huma.Param{
		headerParameter("Hub-Min-Position", "Wait until the answer includes this position.", "4711"),
		preferHeader,
		headerParameter("Hub-Epoch", "The log that Hub-Min-Position belongs to, as a read answered it.", "0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"),
		ifNoneMatchHeader,
		requestIDHeader,
	}
	reasonHeader      = headerParameter("Hub-Reason", "Why; kept with the events. At most 500 characters.", "Customer called")
	idempotencyHeader = headerParameter("Idempotency-Key", "Makes a retry safe: the same request with the same key is answered as the first time. 1 to 255 visible ASCII characters.", "5c1fd3f0-import-row-17")
	dryRunQuery       = &huma.Param{
		Name: dryRunParameter, In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean, Default: false},
		Description: "true to be told what would happen, decided on the newest state, without writing anything. Idempotency-Key is then neither looked up nor kept.",
	}
	ifNoneMatchHeader = headerParameter("If-None-Match", "With a read, answer 304 while the entity tag is still one of these. With a write only *: write only if there is nothing yet.", `"3"`)
	preferHeader      = headerParameter("Prefer", "With a write, return=representation adds the resource to the receipt. With a read, wait=SECONDS is how long to wait for Hub-Min-Position, 30 at most.", "return=representation")
	requestIDHeader   = headerParameter("X-Request-Id", "Your name for this request: 1 to 128 of A-Z a-z 0-9 . _ -. Every answer names one.", "web-4f1a")
)

func headerParameter(name, description, example string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: description, Example: example, Schema: &huma.Schema{Type: huma.TypeString}}
}

// requestExamples are bodies that work, by operationId.
var requestExamples = map[string]string{
	"defineEntityType":   `{"title":"Customer","schema":{"type":"object","properties":{"name":{"type":"string","minLength":1},"city":{"type":"string"}},"required":["name"]},"search":["name","city"],"relationships":[{"kind":"employer","target":"company","on_archive":"restrict"},{"kind":"parent","target":"customer","on_archive":"detach","acyclic":true}]}`,
	"updateOrganization": `{"timezone":"Europe/Paris","fiscal_year_start":"04-01","base_currency":"EUR"}`,
	"createEntity":       `{"type":"customer","key":"C-17","attributes":{"name":"Ana","city":"Paris"},"tags":["vip"]}`,
	"patchEntity":        `{"attributes":{"city":"Lyon"},"tags":["vip","eu"]}`,
	"startBulkUpdate":    `{"filter":{"type":"customer","attr.city":"Paris","attr.turnover[gte]":10000},"attributes":{"segment":"gold"}}`,
	"setLogLevel":        `{"level":"debug"}`,
	"addRelationship":    `{"kind":"employer","target_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"}`,
	"shareEntity":        exampleACL,
	"restoreEntity":      `{"attributes":{"city":"Lyon"}}`,
	"openAccount":        `{"code":"1000","name":"Bank","kind":"asset","currency":"EUR","min_balance":"0.00"}`,
	"createTransaction":  `{"date":"2026-01-31","description":"Office rent, January","lines":[{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","side":"debit","amount":"850.00"},{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c13","side":"credit","amount":"850.00"}],"external_ref":"rent-2026-01","action":"post"}`,
	"createTransactions": `[{"date":"2026-01-31","description":"Office rent, January","lines":[{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","side":"debit","amount":"850.00"},{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c13","side":"credit","amount":"850.00"}],"action":"post"}]`,
	"patchTransaction":   `{"description":"Office rent, February","date":"2026-02-01"}`,
	"submitTransaction":  `{"on_closed_period":"move"}`,
	"postTransaction":    `{"on_closed_period":"move"}`,
	"reverseTransaction": `{"date":"2026-02-03","description":"Charged twice"}`,
	"setPolicy":          `{"currency":"EUR","approval_above":"1000.00","approvals_needed":1}`,
	"closePeriods":       `{"closed_through":"2026-01-31"}`,
}

const (
	exampleACL          = `{"entries":[{"principal":"group:sales","permissions":["read","write"]},{"principal":"user:eve","permissions":["read"],"deny":true}]}`
	exampleEvent        = `{"specversion":"1.0","id":"0197a3a2-51c5-7c3e-9d5b-6f2a8f1d0c11","source":"urn:hub-backend:acme","type":"entity.created","subject":"entity:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","time":"2026-11-22T09:30:00.123456Z","datacontenttype":"application/json","position":4711,"orgposition":120,"epoch":"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11","org":"acme","streamversion":1,"schemaversion":1,"tags":"[\"entity:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11\"]","subjects":"[]","actor":"{\"sub\":\"ana\",\"person\":\"p-7\"}","commandid":"0197a3a2-51c6-7c3e-9d5b-6f2a8f1d0c11","recordedat":"2026-11-22T09:30:00.125456Z","leafhash":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","data":{"type":"customer","key":"C-17","attributes":{"name":"Ana"},"tags":["vip"]}}`
	exampleEntity       = `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","type":"customer","key":"C-17","status":"active","attributes":{"city":"Paris","name":"Ana"},"tags":["vip"],"version":1,"type_version":1,"created_at":"2026-11-22T09:30:00.123456Z","created_by":"ana","updated_at":"2026-11-22T09:30:00.123456Z","updated_by":"ana"}`
	exampleBulkUpdate   = `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c33","state":"running","total":1200,"processed":400,"created":0,"updated":390,"unchanged":7,"failed":3,"rate":812.5,"eta_seconds":0.98,"reason":"New segments","started_at":"2026-11-22T09:30:00.123456Z","started_by":"ana","updated_at":"2026-11-22T09:30:00.623456Z","ended_at":null,"version":6,"filter":{"type":"customer","others":["attr.city"]},"selected_at":4711,"attributes":["segment"],"on_change":"skip"}`
	exampleOrganization = `{"id":"acme","timezone":"Europe/Paris","fiscal_year_start":"04-01","base_currency":"EUR","version":1,"updated_at":"2026-11-22T09:28:00.123456Z","updated_by":"ana"}`
	exampleAccount      = `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","code":"1000","name":"Bank","kind":"asset","currency":"EUR","status":"open","min_balance":"0.00","entity_id":null,"balance":"1250.00","pending":"-50.00","available":"1200.00","version":1,"created_at":"2026-11-22T09:30:00.123456Z","created_by":"ana","updated_at":"2026-11-22T09:30:00.123456Z","updated_by":"ana"}`
	exampleTransaction  = `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","status":"posted","date":"2026-01-31","description":"Office rent, January","lines":[{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","side":"debit","amount":"850.00","currency":"EUR"},{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c13","side":"credit","amount":"850.00","currency":"EUR"}],"approvals":[{"by":"bob","at":"2026-02-01T09:00:00Z"}],"external_ref":"rent-2026-01","metadata":{},"expires_at":null,"reverses":null,"reversed_by":null,"version":3,"created_at":"2026-02-01T08:30:00.123456Z","created_by":"ana","updated_at":"2026-02-01T09:30:00.123456Z","updated_by":"ana"}`
	exampleEntityType   = `{"name":"customer","title":"Customer","schema":{"type":"object","properties":{"name":{"type":"string","minLength":1}},"required":["name"]},"search":["name","city"],"version":1,"created_at":"2026-11-22T09:29:00.123456Z","created_by":"ana","updated_at":"2026-11-22T09:29:00.123456Z","updated_by":"ana","relationships":[{"kind":"employer","target":"company","on_archive":"restrict"}]}`
)

// answerExamples are answers of success, by operationId.
var answerExamples = map[string]string{
	"shareEntity":        `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","version":2,"position":4712,"events":[{"type":"entity.access_changed","position":4712}]}`,
	"getEntityACL":       exampleACL,
	"getEntityAccess":    `{"principal":"user:ben","known":true,"roles":["editor"],"groups":["sales"],"read":{"allowed":true,"because":"allowed","entries":[{"principal":"group:sales","permissions":["read","write"]}]},"write":{"allowed":true,"because":"allowed","entries":[{"principal":"group:sales","permissions":["read","write"]}]},"share":{"allowed":false,"because":"not_named","entries":[]}}`,
	"listEvents":         `[` + exampleEvent + `]`,
	"createStreamTicket": `{"ticket":"Vf7r0kqM3nZb8QwXc1tYh2","expires_at":"2026-11-22T09:30:30Z"}`,
	"listViews":          `{"items":[{"name":"entities","version":1,"schema":"entities_v1","state":"following","position":4711,"lag_positions":0,"lag_seconds":0,"updated_at":"2026-03-01T12:00:00Z","parked":0}],"next_cursor":null,"truncated":false}`,
	"rebuildView":        `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","view":"entities","kind":"rebuild","requested_by":"operator","state":"queued","done":0,"total":0,"rate":0,"findings":0,"requested_at":"2026-03-01T12:00:00Z"}`,
	"verifyView":         `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","view":"entities","kind":"verify","requested_by":"operator","state":"queued","done":0,"total":0,"rate":0,"findings":0,"requested_at":"2026-03-01T12:00:00Z"}`,
	"retryParked":        `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","view":"entities","kind":"retry","requested_by":"operator","state":"queued","done":0,"total":0,"rate":0,"findings":0,"requested_at":"2026-03-01T12:00:00Z"}`,
	"cancelJob":          `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","view":"entities","kind":"rebuild","requested_by":"operator","state":"running","done":120000,"total":1000000,"rate":20000,"findings":0,"requested_at":"2026-03-01T12:00:00Z"}`,
	"listJobs":           `{"items":[{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","view":"entities","kind":"verify","requested_by":"operator","state":"completed","done":1000000,"total":1000000,"rate":20000,"findings":0,"requested_at":"2026-03-01T12:00:00Z"}],"next_cursor":null,"truncated":false}`,
	"listParked":         `{"items":[{"view":"entities","stream_hash":"9f86d081884c7d659a2feaa0c55ad015","first_position":4711,"last_position":4720,"events":2,"reason":"refused","parked_at":"2026-03-01T12:00:00Z"}],"next_cursor":null,"truncated":false}`,
	"listReactions":      `{"items":[{"name":"notifications","position":4711,"lag_positions":0,"lag_seconds":0,"updated_at":"2026-11-22T09:30:00Z","parked":1,"items":[{"position":4700,"stream_hash":"9f86d081884c7d659a2feaa0c55ad015","type":"entity.created","reason":"the reaction took too long","attempts":5,"retry":false,"parked_at":"2026-11-22T09:29:00Z"}]}],"next_cursor":null,"truncated":false}`,
	"retryReaction":      `{"events":1}`,
	"dropReaction":       `{"events":1}`,
	"getRelay":           `{"leader":true,"head":4711,"published":4711,"first":1,"lag_positions":0,"lag_seconds":0}`,
	"defineEntityType":   exampleReceipt("customer", "1", "entity_type.defined", "4710"),
	"createEntity":       exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "1", "entity.created", "4711"),
	"patchEntity":        exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "2", "entity.updated", "4712"),
	"deleteEntity":       exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "entity.archived", "4713"),
	"archiveEntity":      exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "entity.archived", "4713"),
	"restoreEntity":      exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "4", "entity.restored", "4714"),
	"getEntity":          exampleEntity,
	"getEntityHistory":   `{"items":[{"version":2,"position":4712,"event_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","type":"entity.updated","recorded_at":"2026-11-22T09:31:00.123456Z","by":"ana","on_behalf_of":null,"reason":"Customer called","request_id":"web-4f1a","correlation_id":"web-4f1a","changes":[{"path":"/attributes/city","attribute":"city","from":"Paris","to":"Lyon"},{"path":"/tags","from":["vip"],"to":["vip","eu"]}]}],"next_cursor":"eyJlIjoi"}`,
	"startBulkUpdate":    `{"job_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c33","id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c33","version":2,"position":4713,"events":[{"type":"bulk_update.started","position":4712},{"type":"bulk_update.selected","position":4713}]}`,
	"getBulkUpdate":      exampleBulkUpdate,
	"listBulkUpdates":    `{"items":[` + exampleBulkUpdate + `],"next_cursor":null}`,
	"listBulkErrors":     `{"items":[{"item":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22","code":"invalid_attributes","detail":"The attributes do not follow the type's schema; errors says where.","errors":[{"location":"body.attributes/age","message":"must be of type integer"}]}],"next_cursor":null}`,
	"cancelBulkUpdate":   exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c33", "7", "bulk_update.cancelled", "4750"),
	"listEntities":       `{"items":[` + exampleEntity + `],"next_cursor":null}`,
	"getEntityType":      exampleEntityType,
	"addRelationship":    exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "5", "relationship.added", "4715"),
	"removeRelationship": exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "6", "relationship.removed", "4716"),
	"listRelationships":  `{"items":[{"kind":"employer","source_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","target_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22","source":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","target":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22","depth":1,"created_at":"2026-11-22T09:31:00.123456Z","created_by":"ana"}],"next_cursor":null,"truncated":false}`,
	"listMembers":        `{"items":[{"sub":"ana","person":"p-7","roles":["approver","editor"],"groups":["sales"],"version":1,"updated_at":"2026-11-22T09:30:00Z"}],"next_cursor":null}`,
	"listAccesses":       `{"items":[{"position":4711,"actor":"pia","person":"p-7","subjects":["0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"],"attributes":["iban"],"route":"GET /api/v1/entities/{id}","request_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","recorded_at":"2026-11-22T09:30:00Z"}],"next_cursor":null}`,
	"listEntityTypes":    `{"items":[` + exampleEntityType + `],"next_cursor":null}`,
	"getOrganization":    exampleOrganization,
	"updateOrganization": exampleReceipt("acme", "1", "organization.updated", "4709"),
	"getMe":              `{"sub":"ana","person_id":"p-7","name":"Ana","email":"ana@example.com","org_id":"acme","roles":["editor"],"groups":["sales"],"permissions":["entities.read","entities.write","entity_types.read","organization.read"],"mfa":false,"expires_at":"2026-11-22T10:30:00Z"}`,
	"getHealth":          `{"status":"healthy","service":"backend","version":"1.0.0","timestamp":"2026-11-22T09:30:00Z","epoch":"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11","database":"connected","features":["entities"],"components":{"database":{"status":"healthy"},"nats":{"status":"healthy"}}}`,
	"isLive":             `{"status":"ok"}`,
	"getLogLevel":        `{"level":"info"}`,
	"setLogLevel":        `{"level":"debug"}`,
	"isReady":            `{"status":"ok"}`,
	"openAccount":        exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "1", "account.opened", "4711"),
	"closeAccount":       exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "2", "account.closed", "4712"),
	"reopenAccount":      exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "account.reopened", "4713"),
	"createTransactions": `{"results":[{"index":0,"status":201,"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"},{"index":1,"status":409,"code":"insufficient_funds","detail":"The account 1000 would have -1.00 EUR available on 2026-01-31; the least it may have is 0.00."}]}`,
	"createTransaction":  exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "1", "transaction.posted", "4714"),
	"patchTransaction":   exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "2", "transaction.updated", "4715"),
	"submitTransaction":  exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "2", "transaction.submitted", "4716"),
	"approveTransaction": exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "transaction.approved", "4717"),
	"rejectTransaction":  exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "transaction.rejected", "4718"),
	"postTransaction":    exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "4", "transaction.posted", "4719"),
	"voidTransaction":    exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "3", "transaction.voided", "4720"),
	"reverseTransaction": exampleReceipt("0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "1", "transaction.posted", "4721"),
	"setPolicy":          exampleReceipt("EUR", "1", "transaction_policy.set", "4722"),
	"closePeriods":       exampleReceipt("all", "1", "transaction_periods.closed", "4723"),
	"getAccount":         exampleAccount,
	"listAccounts":       `{"items":[` + exampleAccount + `],"next_cursor":null}`,
	"listEntries":        `{"items":[{"transaction_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","date":"2026-01-31","side":"credit","amount":"850.00","balance":"1250.00","position":4714,"recorded_at":"2026-02-01T09:30:00.123456Z"}],"next_cursor":null}`,
	"getTransaction":     exampleTransaction,
	"listTransactions":   `{"items":[` + exampleTransaction + `],"next_cursor":null}`,
	"explainTransaction": `{"id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11","status":"posted","events":[{"position":4714,"type":"transaction.posted","at":"2026-02-01T09:30:00.123456Z","by":"ana","entries":[{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12","code":"6000","date":"2026-01-31","side":"debit","amount":"850.00","currency":"EUR"},{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c13","code":"1000","date":"2026-01-31","side":"credit","amount":"850.00","currency":"EUR"}]}],"truncated":false,"version":1}`,
	"getBalances":        `{"currency":"EUR","items":[{"date":"2026-01-31","balance":"1250.00"},{"date":"2026-02-28","balance":"400.00"}]}`,
	"getTrialBalance":    `{"items":[{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c13","code":"1000","name":"Bank","kind":"asset","currency":"EUR","debit":"1250.00","credit":"0.00"},{"account_id":"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c14","code":"3000","name":"Capital","kind":"equity","currency":"EUR","debit":"0.00","credit":"1250.00"}],"totals":[{"currency":"EUR","debit":"1250.00","credit":"1250.00"}],"truncated":false}`,
	"getPolicy":          `{"currency":"EUR","approval_above":"1000.00","approvals_needed":1,"version":1,"items":[{"currency":"EUR","approval_above":"1000.00","approvals_needed":1,"version":1}]}`,
	"getPeriods":         `{"closed_through":"2026-01-31","version":1}`,
}

func exampleReceipt(id, version, event, position string) string {
	return `{"id":"` + id + `","version":` + version + `,"position":` + position +
		`,"events":[{"type":"` + event + `","position":` + position + `}]}`
}

package httpapi

import "github.com/reactdjango-hub/backend/domain/problem"

// entry explains one code to whoever meets it.
type entry struct {
	code    string
	kind    problem.Kind
	meaning string
	// kinds of routes that answer it; nil for all.
	kinds map[kind]bool
}

var (
	onCommands = map[kind]bool{command: true}
	onQueries  = map[kind]bool{query: true}
	onWrites   = map[kind]bool{command: true, operations: true}
	onJobs     = map[kind]bool{operations: true}
	onReads    = map[kind]bool{query: true, operations: true, command: true}
	onFeeds    = map[kind]bool{feed: true}
	onLog      = map[kind]bool{command: true, feed: true}
	onViews    = map[kind]bool{query: true, feed: true}
	onLists    = map[kind]bool{query: true, command: true}             // and what selects as they do
	onFilters  = map[kind]bool{query: true, feed: true, command: true} // those of streams, too
	onBodies   = map[kind]bool{command: true, operations: true, operator: true}
	onSized    = map[kind]bool{command: true, operations: true, operator: true, personal: true} // with a body, or an empty one
	onProbes   = map[kind]bool{probe: true}
	nowhere    = map[kind]bool{} // before a route is found
)

// catalogue has every code that an answer of the product can carry; a test finds
// those that were forgotten. Of several with one status the first is the example
// in the OpenAPI document.
var catalogue = []entry{
	{"invalid_json", problem.Malformed, "The body is not one JSON document that can be read.", onBodies},
	{"invalid_http", problem.Malformed, "The request is not HTTP/1.1 that can be read.", nowhere},
	{"invalid_query", problem.Malformed, "The query of the URL cannot be read.", nil},
	{"invalid_encoding", problem.Malformed, "The URL is not UTF-8, or holds NUL characters.", nil},
	{"invalid_utf8", problem.Malformed, "The body is not UTF-8.", onBodies},
	{"nul_byte", problem.Malformed, "The body holds a NUL character, which cannot be stored.", onBodies},
	{"duplicate_name", problem.Malformed, "An object in the body holds a name twice.", onBodies},
	{"too_deep", problem.Malformed, "The body is nested too deeply.", onBodies},
	{"body_incomplete", problem.Malformed, "The body ended before all of it had arrived.", onBodies},
	{"invalid_if_match", problem.Malformed, "If-Match is not one entity tag and not *.", onCommands},
	{"invalid_if_none_match", problem.Malformed, "If-None-Match of a write is not *.", onCommands},
	{"invalid_idempotency_key", problem.Malformed, "Idempotency-Key is not 1 to 255 visible ASCII characters.", onWrites},
	{"invalid_min_position", problem.Malformed, "Hub-Min-Position is not a position.", onLists},
	{"invalid_cursor", problem.Malformed, "The cursor is not one of this list.", onQueries},
	{"invalid_last_event_id", problem.Malformed, "Last-Event-ID is not a position.", onFeeds},
	{"two_credentials", problem.Malformed, "The request has an access token and a ticket.", onFeeds},
	{"host_not_allowed", problem.Malformed, "The server does not answer under this host name.", nowhere},
	{"invalid_token", problem.Unauthenticated, "The access token is not valid, or not any more. Get a new one.", nil},
	{stepUp, problem.Unauthenticated, "This needs a login that was confirmed with a second factor within the last hour. Log in again with one.", nil},
	{"invalid_ticket", problem.Unauthenticated, "The ticket is not good, or has been used. Get a new one.", onFeeds},
	{missingToken, problem.Unauthenticated, "The request has no access token.", nil},
	{"forbidden", problem.Forbidden, "Neither your roles nor the entries of an entity allow you this.", nil},
	{"cannot_grant", problem.Forbidden, "One can give others only permissions that one holds on the entity.", onCommands},
	{"privacy_required", problem.Forbidden, "Finding entities by a sensitive attribute needs the role privacy.", onQueries},
	{"self_approval", problem.Forbidden, "Whoever made, changed or submitted a transaction cannot approve it.", onCommands},
	{"not_found", problem.NotFound, "There is no such thing, or it is not yours to see.", nil},
	{"method_not_allowed", problem.MethodNotAllowed, "The path does not take this method; see the Allow header.", nowhere},
	{"key_taken", problem.Conflict, "An entity of this type has this key already.", onCommands},
	{"code_taken", problem.Conflict, "Another account has this code; id says which.", onCommands},
	{"external_ref_taken", problem.Conflict, "Another transaction has this external_ref; id says which, and errors what it says differently.", onCommands},
	{"invalid_state", problem.Conflict, "The transaction is in a state that does not allow this.", onCommands},
	{"account_closed", problem.Conflict, "An account of the transaction is closed; account_id says which.", onCommands},
	{"period_closed", problem.Conflict, "The books are closed on this date; closed_through says how far.", onCommands},
	{"approval_required", problem.Conflict, "The amount needs more approvals than the transaction has.", onCommands},
	{"insufficient_funds", problem.Conflict, "An account would have less available than it may; account_id, date and available say where, when and how much.", onCommands},
	{"subject_erased", problem.Conflict, "A person whom this is about was erased.", onCommands},
	{"conflict", problem.Conflict, "The resource is in a state that forbids this.", onCommands},
	{"narrowing_change", problem.Conflict, "Attributes that are valid now could be invalid under the new schema; errors says by which keywords, impact how many entities do not follow it. Send force to define it all the same.", onCommands},
	{"unsealing_change", problem.Conflict, "The definition leaves out attributes that are sensitive, or that every read is recorded, and the type has entities. Send force if that is meant.", onCommands},
	{"relationship_restricted", problem.Conflict, "A relationship keeps this from being done: what is archived is referred to by entities in use, or what is restored refers to archived ones. relationships counts them by kind.", onCommands},
	{"relationship_cycle", problem.Conflict, "The target leads back to the entity, by a kind that must not go in a circle.", onCommands},
	{"too_many_relationships", problem.Conflict, "An entity has 500 relationships at most, 10,000 lead to one at most, and archiving removes 500 at once at most.", onCommands},
	{"epoch_changed", problem.Conflict, "The log was restored to an earlier state since you saw that position. Forget what you hold and read again.", onFilters},
	{"job_running", problem.Conflict, "Another job is under way for this view. Wait for it, or cancel it.", onJobs},
	{"version_conflict", problem.Stale, "The resource has changed since you read it. Read it again and repeat your change.", onCommands},
	{"body_too_large", problem.TooLarge, "The body is larger than this request may have.", onSized},
	{"event_too_large", problem.TooLarge, "What would be recorded is larger than 256 KiB, or concerns too much at once.", onCommands},
	{"headers_too_large", problem.TooLarge, "Path, query and headers are too large together.", nowhere},
	{"unsupported_media_type", problem.UnsupportedMedia, "The Content-Type is not one that this request takes.", onBodies},
	{"unsupported_content_encoding", problem.UnsupportedMedia, "The body is compressed. Send it as it is.", onSized},
	{"invalid_request", problem.Invalid, "The request does not fit its description; errors says where.", nil},
	{"invalid_limit", problem.Invalid, "A page has 1 to 500 items.", onQueries},
	{"invalid_sort", problem.Invalid, "The list cannot be sorted like this.", onQueries},
	{"invalid_filter", problem.Invalid, "A filter cannot be used; errors says which.", onFilters},
	{"invalid_offset", problem.Invalid, "The offset is out of range, or comes together with a cursor.", onQueries},
	{"invalid_as_of", problem.Invalid, "The time of as_of cannot be used: it is no time, it is in the future, or it comes with at_version.", onQueries},
	{"invalid_depth", problem.Invalid, "The depth is from 1 to 5, and 1 with a cursor or count.", onQueries},
	{"too_many_entities", problem.Invalid, "The filter finds more entities than one job may have. Narrow it, and do the rest after that.", onCommands},
	{"invalid_search", problem.Invalid, "q cannot be searched for: it is too long, holds no letter or digit, or comes with as_of.", onLists},
	{"not_searchable", problem.Invalid, "No type of the entities that are searched names attributes in search.", onLists},
	{"invalid_fields", problem.Invalid, "fields names members that the resource does not have.", onQueries},
	{"invalid_expand", problem.Invalid, "expand names what cannot be expanded.", onQueries},
	{"unknown_field", problem.Invalid, "The body has fields that do not exist. Names are case-sensitive.", onBodies},
	{"unknown_parameter", problem.Invalid, "The URL has parameters that do not exist here.", nil},
	{"repeated_parameter", problem.Invalid, "A parameter is given more than once.", nil},
	{"invalid_reason", problem.Invalid, "Hub-Reason is longer than 500 characters, not UTF-8, begins like a sealed value, or holds control characters or bidirectional overrides.", onCommands},
	{"invalid_text", problem.Invalid, "A text holds control characters or bidirectional overrides.", onBodies},
	{"wrong_type", problem.Invalid, "A field of the body has the wrong type.", onBodies},
	{"number_out_of_range", problem.Invalid, "A number is beyond the range of a double.", onBodies},
	{"idempotency_key_reused", problem.Invalid, "The Idempotency-Key was used for a different request.", onWrites},
	{"sealed_attribute", problem.Invalid, "A sensitive attribute can be compared for being equal, as a whole and as it is now, and by nothing else.", onLists},
	{"masked_value", problem.Invalid, "*** stands for a value that is not shown, and cannot be stored in its place.", onCommands},
	{"invalid_audit_reads", problem.Invalid, "The reads to record cannot be these.", onCommands},
	{"invalid_sensitive", problem.Invalid, "The attributes that a type names as sensitive cannot be these; errors says which.", onCommands},
	{"unknown_type", problem.Invalid, "There is no entity type of this name.", onCommands},
	{"invalid_attributes", problem.Invalid, "The attributes do not follow the type's schema; errors says where.", onCommands},
	{"invalid_key", problem.Invalid, "The key cannot be used.", onCommands},
	{"invalid_tags", problem.Invalid, "The tags cannot be used.", onCommands},
	{"invalid_acl", problem.Invalid, "The ACL entries cannot be used; errors says why.", onCommands},
	{"invalid_principal", problem.Invalid, "The principal is not user:, role: or group: and a name.", onQueries},
	{"invalid_patch", problem.Invalid, "The merge patch cannot be used.", onCommands},
	{"unknown_kind", problem.Invalid, "The type of the entity does not declare this kind of relationship.", onCommands},
	{"unknown_target", problem.Invalid, "There is no entity with the id of the target.", onCommands},
	{"wrong_target_type", problem.Invalid, "The target is not of the type that the kind leads to.", onCommands},
	{"invalid_relationships", problem.Invalid, "The kinds of relationships cannot be declared like this; errors says where.", onCommands},
	{"invalid_search_attributes", problem.Invalid, "The attributes that a type names in search cannot be used; errors says which.", onCommands},
	{"invalid_schema", problem.Invalid, "The schema is not a JSON Schema that can be used.", onCommands},
	{"invalid_settings", problem.Invalid, "The organisation's settings cannot be used; errors says which.", onCommands},
	{"invalid_account", problem.Invalid, "The account cannot be opened like this; errors says why.", onCommands},
	{"unknown_entity", problem.Invalid, "An entity that is named does not exist, or may not be seen or linked.", onCommands},
	{"invalid_transaction", problem.Invalid, "The transaction cannot be read; errors says why.", onCommands},
	{"unknown_account", problem.Invalid, "There is no such account.", onCommands},
	{"invalid_amount", problem.Invalid, "An amount cannot be used; errors says what is expected.", onCommands},
	{"currency_mismatch", problem.Invalid, "The lines do not go together by currency.", onCommands},
	{"unbalanced", problem.Invalid, "Debits and credits are not equal in each currency.", onCommands},
	{"invalid_exchange", problem.Invalid, "A conversion does not fit its rate.", onCommands},
	{"exceeds_transaction", problem.Invalid, "More is to be posted than the transaction has.", onCommands},
	{"invalid_policy", problem.Invalid, "The policy cannot be used; errors says why.", onCommands},
	{"invalid_periods", problem.Invalid, "The date cannot be used.", onCommands},
	{"invalid_title", problem.Invalid, "The title cannot be used.", onCommands},
	{"invalid_type_name", problem.Invalid, "The name cannot be that of a type.", onCommands},
	{"rate_limited", problem.Throttled, "You have made more requests within a minute than a caller may; see Retry-After and RateLimit.", nil},
	{"too_many_jobs", problem.Throttled, "As many jobs are under way as an organisation, or one caller, may have. Wait until one has ended, or cancel one.", onCommands},
	{"too_many_streams", problem.Throttled, "You have more event streams and waits open than a caller may.", onFeeds},
	{"internal", problem.Internal, "Something went wrong on our side. Name the request id when you report it.", nil},
	{"overloaded", problem.Unavailable, "Too many commands are waiting, or too many bodies on their way. Nothing was done; send it again later.", onBodies},
	{"too_many_connections", problem.Unavailable, "Too many connections are open. Try again in a moment.", nowhere},
	{"too_many_reads", problem.Unavailable, "Too many reads are under way. Try again in a moment.", onFilters},
	{"streams_full", problem.Unavailable, "Too many event streams and waits are open in this process.", onFeeds},
	{"clear_reads_unavailable", problem.Unavailable, "Sensitive values are shown only when that is recorded, which cannot be done now.", onQueries},
	{"recorded_reads_unavailable", problem.Unavailable, "Reads of entities of this type are recorded, which cannot be done now.", onQueries},
	{"projection_lagging", problem.Unavailable, "The view has not reached Hub-Min-Position within the wait.", onLists},
	{"not_ready", problem.Unavailable, "The process cannot serve now.", onProbes},
	{"query_api_unavailable", problem.Unavailable, "Reads cannot be answered now; writes can.", onViews},
	{"views_unavailable", problem.Unavailable, "The read database does not answer. Try again in a moment.", onReads},
	{"identity_unavailable", problem.Unavailable, "Tokens cannot be checked now.", nil},
	{"log_unavailable", problem.Unavailable, "The event log does not answer. Nothing was done.", onLog},
	{"shutting_down", problem.Unavailable, "The process is stopping. Nothing was done; send it again.", onCommands},
	{"unknown_event", problem.Unavailable, "The log holds events newer than this process; it must be upgraded.", onCommands},
	{"timeout", problem.Unavailable, "The answer took too long. Try again.", nil},
	{"cancelled", problem.Unavailable, "The request was cancelled.", nil},
	{"outcome_unknown", problem.OutcomeUnknown, "The command may or may not have been done. Send it again with the same Idempotency-Key to learn which.", onWrites},
}

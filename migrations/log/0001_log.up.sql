-- The event log: the truth and the audit trail. What an event is never changes
-- after this file; docs/log.md explains every part of it.
--
-- Runs as a superuser (event triggers need one) on an empty database.

-- A leaf holds text as UTF-8, whatever happens to it on the way in and out.
DO $$
BEGIN
  IF current_setting('server_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'the log needs a database with the encoding UTF8, not %', current_setting('server_encoding');
  END IF;
END
$$;

-- Roles are of the whole server, so another database may have made them already.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['hub_log', 'hub_purge', 'hub_snapshots', 'hub_keys', 'hub_command', 'hub_relay', 'hub_projector', 'hub_query'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
  END LOOP;
END
$$;

-- hub_log owns the log and the functions that act on it. Nobody logs in as it and
-- no service is a member of it.
GRANT USAGE, CREATE ON SCHEMA public TO hub_log;
GRANT USAGE ON SCHEMA public TO hub_command, hub_relay, hub_projector, hub_query;

-- Append-only ------------------------------------------------------------------

-- What guards the log has a schema and an owner of its own, so that neither DROP
-- SCHEMA public CASCADE nor DROP OWNED BY hub_log removes the guard together with
-- what it guards.
CREATE SCHEMA hub_guard;
GRANT USAGE ON SCHEMA hub_guard TO PUBLIC;

-- The one exception: the epoch that an empty log was made with gives way to those of a
-- backup (restore_epochs). No event has it.
CREATE FUNCTION hub_guard.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'log_epochs' AND TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM public.events) THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
$$;

-- What belongs to the log, by its identity: tables and what hangs on them, functions,
-- and the guard itself.
CREATE FUNCTION hub_guard.is_log_object(identity text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN identity ~ '(^|\mon )public\.(events|event_tags|log_epochs|log_lock)(_p[0-9]+)?($|\.)'
    OR identity ~ '^public\.(append_events|record_accesses|lock_log|log_incarnation|load_boundaries|find_receipts|read_log|read_stream|log_time|log_head|ensure_partitions|partition_size|event_leaf|position_since|fork_log|reappend_events|restore_epochs)\('
    OR identity ~ '^public\.events_org_' OR identity ~ '^hub_guard\.';

-- Refuses DDL on the log to everybody, the owner and superusers included; only
-- ensure_partitions, found on the call stack, may create and attach partitions. Nor
-- may functions of the owner be replaced, or that one could be. A migration that has
-- to change any of it drops the event triggers first and makes them again; so can a
-- superuser, and that is what the signed checkpoints kept elsewhere are for.
CREATE FUNCTION hub_guard.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  object record;
  stack  text;
BEGIN
  IF TG_EVENT = 'sql_drop' THEN
    FOR object IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
      IF hub_guard.is_log_object(object.object_identity) THEN
        RAISE EXCEPTION 'the log is append-only: % of % is refused', TG_TAG, object.object_identity
          USING ERRCODE = 'insufficient_privilege';
      END IF;
    END LOOP;
    RETURN;
  END IF;
  GET DIAGNOSTICS stack = PG_CONTEXT;
  IF current_user = 'hub_log' AND stack ~ '\nPL/pgSQL function (public\.)?ensure_partitions\(\) line' THEN
    RETURN;
  END IF;
  FOR object IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
    -- A renamed table no longer has its name, and one given away not its owner.
    IF object.object_type <> 'index' AND (hub_guard.is_log_object(object.object_identity)
       OR EXISTS (SELECT FROM pg_class c WHERE object.classid = 'pg_class'::regclass AND c.oid = object.objid
                     AND c.relowner = 'hub_log'::regrole)
       OR EXISTS (SELECT FROM pg_proc p WHERE object.classid = 'pg_proc'::regclass AND p.oid = object.objid
                     AND p.proowner = 'hub_log'::regrole)) THEN
      RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_TAG, object.object_identity
        USING ERRCODE = 'insufficient_privilege';
    END IF;
  END LOOP;
END
$$;

-- The log ----------------------------------------------------------------------

SET ROLE hub_log;

-- One row per start of the log's history: the first, and one per restore to an
-- earlier state. The newest row is the epoch in force.
CREATE TABLE log_epochs (
  -- The order is by number: the clock of a server that was restored to may be behind.
  number         bigint      NOT NULL PRIMARY KEY,
  epoch          uuid        NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  -- The events after this position are of this epoch.
  after_position bigint      NOT NULL,
  -- What was known of a position under an earlier epoch is true up to this one; beyond,
  -- it may be of what was lost.
  fork_position  bigint      NOT NULL,
  -- What showed that the log had lost its end: the last position that was published, and
  -- the event there, null where that was not known any more. Null for the first epoch.
  lost_position  bigint,
  lost_event     uuid,
  started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (0 <= fork_position AND fork_position <= after_position)
);

-- Held while appending (lock_log). A table, not an advisory lock, because nobody but
-- the owner may lock it: any role could take an advisory one and stop all writes.
CREATE TABLE log_lock ();

CREATE TABLE events (
  position       bigint      NOT NULL,
  org_position   bigint      NOT NULL,
  epoch          uuid        NOT NULL,
  id             uuid        NOT NULL,
  org            text        NOT NULL,
  stream         text        NOT NULL,
  version        bigint      NOT NULL,
  type           text        NOT NULL,
  schema_version integer     NOT NULL,
  tags           text[]      NOT NULL,
  subjects       text[]      NOT NULL,
  -- The exact bytes, never jsonb: what is hashed is what was written.
  data           bytea       NOT NULL,
  -- json, not jsonb, keeps the exact text and can still be queried.
  actor          json        NOT NULL,
  on_behalf_of   json,
  reason         text,
  request_id     text,
  correlation_id text,
  causation_id   text,
  command_id     uuid        NOT NULL,
  occurred_at    timestamptz NOT NULL,
  recorded_at    timestamptz NOT NULL,
  leaf_hash      bytea       NOT NULL,
  PRIMARY KEY (position),
  CHECK (position > 0 AND org_position > 0 AND version > 0 AND schema_version > 0),
  CHECK (org <> '' AND octet_length(data) <= 262144 AND octet_length(leaf_hash) = 32)
) PARTITION BY RANGE (position);

-- (org, position) finds an organisation's head and its tail, the others its streams
-- and types. Uniqueness of versions is append_events' work: a unique index would have
-- to contain the partition key.
CREATE INDEX events_org_position ON events (org, position);
CREATE INDEX events_org_stream_version ON events (org, stream, version);
CREATE INDEX events_org_type_position ON events (org, type, position);

-- The heads of all boundaries, as an index that only grows. A head row per
-- boundary, updated, would collapse under any long-held snapshot.
CREATE TABLE event_tags (
  org      text   NOT NULL,
  tag      text   NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (org, tag, position)
) PARTITION BY RANGE (position);

-- What each command was answered. Not part of the log, but backed up with it.
CREATE TABLE receipts (
  command_id      uuid        NOT NULL PRIMARY KEY,
  org             text        NOT NULL,
  caller          text        NOT NULL,
  idempotency_key text,
  request_hash    bytea,
  -- Null for an accepted command; otherwise the problem it was refused with.
  refusal         json,
  resource_id     text        NOT NULL,
  created         boolean     NOT NULL,
  version         bigint      NOT NULL,
  -- The positions of its events; first_position is null when there were none and
  -- position is then the one the outcome was validated at.
  first_position  bigint,
  position        bigint      NOT NULL,
  recorded_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX receipts_idempotency_key ON receipts (org, caller, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Who does, of many processes, what one need do; see internal/lease. Not part of the
-- history: it says who works now, and nothing depends on its being right.
CREATE TABLE log_leases (
  name       text        NOT NULL PRIMARY KEY CHECK (name ~ '^[a-z0-9_.:/-]{1,64}$'),
  holder     uuid        NOT NULL,
  token      bigint      NOT NULL CHECK (token > 0),
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 10); -- few rows, updated all the time: leave room beside them
GRANT SELECT, INSERT, UPDATE ON log_leases TO hub_relay;
GRANT SELECT ON log_leases TO hub_query; -- who looks after the system sees whether somebody leads

-- Row-level security: everybody sees the organisation named in hub.org, which
-- every service sets for one transaction. hub_log's own policies let its functions
-- work over organisations, and give it neither UPDATE nor DELETE.
ALTER TABLE events     ENABLE ROW LEVEL SECURITY;
ALTER TABLE events     FORCE  ROW LEVEL SECURITY;
ALTER TABLE event_tags ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_tags FORCE  ROW LEVEL SECURITY;
ALTER TABLE receipts   ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts   FORCE  ROW LEVEL SECURITY;

CREATE POLICY own_organisation ON events FOR SELECT TO hub_command, hub_query
  USING (org = nullif(current_setting('hub.org', true), ''));
CREATE POLICY log_reads   ON events FOR SELECT TO hub_log USING (true);
CREATE POLICY log_appends ON events FOR INSERT TO hub_log WITH CHECK (true);

CREATE POLICY own_organisation ON event_tags FOR SELECT TO hub_command, hub_query
  USING (org = nullif(current_setting('hub.org', true), ''));
CREATE POLICY log_reads   ON event_tags FOR SELECT TO hub_log USING (true);
CREATE POLICY log_appends ON event_tags FOR INSERT TO hub_log WITH CHECK (true);

CREATE POLICY log_reads   ON receipts FOR SELECT TO hub_log USING (true);
CREATE POLICY log_appends ON receipts FOR INSERT TO hub_log WITH CHECK (true);
-- A receipt lives for seven days; before, whoever purges does not even see it.
CREATE POLICY purge_reads   ON receipts FOR SELECT TO hub_purge USING (recorded_at < clock_timestamp() - interval '7 days');
CREATE POLICY purge_deletes ON receipts FOR DELETE TO hub_purge USING (recorded_at < clock_timestamp() - interval '7 days');
GRANT SELECT, DELETE ON receipts TO hub_purge;

GRANT SELECT ON events, event_tags TO hub_command, hub_query;
GRANT SELECT ON log_epochs TO hub_command, hub_relay, hub_projector, hub_query;

-- Statement triggers fire even when no row matches, and ALWAYS also under
-- session_replication_role = replica. They are not inherited by partitions, so
-- ensure_partitions gives every partition its own.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_tags
  FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_epochs
  FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_change();
ALTER TABLE events     ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE event_tags ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE log_epochs ENABLE ALWAYS TRIGGER append_only;

-- Partitions -------------------------------------------------------------------

CREATE FUNCTION partition_size() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 16777216;

-- Creates the partition that the next event goes to and two ahead of it, and
-- returns how many it created. Attaching takes no lock that an append waits for.
CREATE FUNCTION ensure_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  first   bigint := coalesce((SELECT e.position FROM events e ORDER BY e.position DESC LIMIT 1), 0) / partition_size();
  parent  text;
  child   text;
  made    integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('hub.ensure_partitions', 0));
  FOR n IN first .. first + 2 LOOP
    FOREACH parent IN ARRAY ARRAY['events', 'event_tags'] LOOP
      child := format('%s_p%s', parent, n);
      CONTINUE WHEN to_regclass('public.' || child) IS NOT NULL;
      EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
      -- Nobody is granted anything on a partition, and RLS without a policy shows nothing.
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', child);
      EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.%I FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_change()', child);
      EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER append_only', child);
      EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)',
        parent, child, n * partition_size(), (n + 1) * partition_size());
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;

-- Reading ----------------------------------------------------------------------

-- The functions below are PL/pgSQL, even where one query is all they do, because
-- that keeps its plan, and forbid what a planner tends to choose for a table that
-- was empty a moment ago: a scan or a sort of all of it, every time, until the next
-- ANALYZE. For the same reason each query is put so that one index alone fits it. What
-- is forbidden and has to be done all the same looks so dear that PostgreSQL would
-- compile the query each time, for half a second: hence no JIT. Nor does it keep a plan
-- by itself when the one for the arrays at hand looks cheaper, although making that takes
-- longer than running it: what is called each turn has its plans kept by force.

-- The bytes that are hashed: PostgreSQL's binary form of the row, which frames
-- every column with its type and length. docs/leaf.md spells it out.
-- Text is sent in the client's encoding, so that is set.
CREATE FUNCTION event_leaf(e events) RETURNS bytea LANGUAGE plpgsql STABLE SET client_encoding = 'UTF8' AS $$
BEGIN
  RETURN record_send(ROW(
    'hub.event.1'::text, e.position, e.org_position, e.epoch, e.id, e.org, e.stream, e.version,
    e.type, e.schema_version, e.tags, e.subjects, e.data, e.actor::text, e.on_behalf_of::text,
    e.reason, e.request_id, e.correlation_id, e.causation_id, e.command_id,
    (extract(epoch FROM e.occurred_at) * 1000000)::bigint,
    (extract(epoch FROM e.recorded_at) * 1000000)::bigint));
END
$$;

CREATE FUNCTION log_head(OUT head bigint, OUT epoch uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off AS $$
BEGIN
  head := coalesce((SELECT e.position FROM events e ORDER BY e.position DESC LIMIT 1), 0);
  epoch := (SELECT l.epoch FROM log_epochs l ORDER BY l.number DESC LIMIT 1);
END
$$;

-- The whole log after a position, in order, with the receipt beside the last event
-- of each command. Only the relay and the projectors may see all organisations.
-- (PostgreSQL 15 crashes on some forms of this that return whole rows; flat columns
-- are twice as fast besides.)
CREATE FUNCTION read_log(after bigint, max_rows integer)
RETURNS TABLE (
  "position" bigint, org_position bigint, epoch uuid, id uuid, org text, stream text, version bigint, type text,
  schema_version integer, tags text[], subjects text[], data bytea, actor json, on_behalf_of json, reason text,
  request_id text, correlation_id text, causation_id text, command_id uuid, occurred_at timestamptz,
  recorded_at timestamptz, leaf_hash bytea,
  receipt_caller text, receipt_key text, receipt_hash bytea, receipt_resource text, receipt_created boolean,
  receipt_version bigint, receipt_first bigint, receipt_position bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT e.*, r.caller, r.idempotency_key, r.request_hash, r.resource_id, r.created, r.version, r.first_position, r.position
    FROM (SELECT * FROM events WHERE events.position > after ORDER BY events.position LIMIT least(max_rows, 4096)) e
    LEFT JOIN LATERAL (SELECT * FROM receipts WHERE receipts.command_id = e.command_id AND receipts.position = e.position) r ON true
   ORDER BY e.position;
END
$$;

-- When a position was recorded; null when there is no such position.
CREATE FUNCTION log_time(at bigint) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT e.recorded_at FROM events e WHERE e.position = at $$;

-- One stream of any organisation from a version on, without receipts.
CREATE FUNCTION read_stream(stream_org text, stream_name text, from_version bigint, max_rows integer) RETURNS SETOF events
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_sort = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT e.* FROM events e WHERE e.org = stream_org AND e.stream = stream_name AND e.version >= from_version
   ORDER BY e.version LIMIT least(max_rows, 4096);
END
$$;

-- The events of the given boundaries after the position each was read at, with the
-- number of the boundary, in order: at least max_rows of them unless there are fewer,
-- and an event that several boundaries have for all of them. One call loads a whole
-- turn of commands.
CREATE FUNCTION load_boundaries(orgs text[], tags text[], afters bigint[], max_rows integer)
RETURNS TABLE (boundary integer, "position" bigint, id uuid, stream text, type text, schema_version integer,
               event_tags text[], subjects text[], data bytea, actor_sub text, recorded_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT p.n::integer, e.position, e.id, e.stream, e.type, e.schema_version, e.tags, e.subjects, e.data,
         coalesce(e.actor->>'sub', ''), e.recorded_at
    FROM (SELECT b.n, t.position
            FROM unnest(orgs, tags, afters) WITH ORDINALITY AS b(org, tag, after, n)
           CROSS JOIN LATERAL (
             SELECT t.position FROM event_tags t
              WHERE t.org = b.org AND t.tag = b.tag AND t.position > b.after
              ORDER BY t.position LIMIT max_rows) t
           ORDER BY t.position
           FETCH FIRST max_rows ROWS WITH TIES) p
   -- OFFSET keeps this a look-up per tag; joined, all events would be walked in order.
   CROSS JOIN LATERAL (SELECT * FROM events WHERE events.position = p.position OFFSET 0) e
   ORDER BY p.position;
END
$$;

-- Appending --------------------------------------------------------------------

-- This run of the server and this database on it. What was read from another one may
-- be of a log that was longer: a server restored to an earlier state, a replica that
-- was promoted without the last commits, a database restored from a dump.
CREATE FUNCTION log_incarnation() RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN (SELECT extract(epoch FROM pg_postmaster_start_time()) || '/' || d.oid || '/' || to_regclass('public.log_lock')::oid
            FROM pg_database d WHERE d.datname = current_database());
END
$$;

-- Takes the log's lock for the transaction and returns the log's incarnation. Whoever
-- holds it is the only one who can append, so what it reads from then on stays true
-- until it commits.
CREATE FUNCTION lock_log() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  setting text;
BEGIN
  -- At a stricter isolation level the statements after the lock would still see
  -- the snapshot from before it was won.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the log is appended to at READ COMMITTED, not %', current_setting('transaction_isolation');
  END IF;
  -- Assignments: PL/pgSQL evaluates them without running a query.
  setting := set_config('synchronous_commit', 'on', true);
  -- Who stops to answer while it decides under the lock must not stop all others.
  setting := set_config('idle_in_transaction_session_timeout', '2s', true);
  LOCK TABLE log_lock IN EXCLUSIVE MODE;
  RETURN log_incarnation();
END
$$;

-- One turn of commands, all of it or nothing of it, in one round trip.
--
-- b_*: every boundary that any outcome of the turn depends on, with the position it
-- was read at. c_*: the commands whose outcome is kept, in the order of their
-- decisions; c_events is how many of the events are each command's. e_*: the events,
-- in order; e_tags and e_subjects are array literals, e_version the version each was
-- decided at; e_reason is sealed, each for its event, where there are subjects.
--
-- believed is the incarnation of the log that the boundaries were read from. When that
-- is another one, nothing is written: their states may be of events that were lost. Nor is
-- it when a boundary has moved, or a command or idempotency key is known already; the
-- three arrays say which (numbers from 1). The caller then decides again. Otherwise
-- they are null and base is the position before the turn's first event.
--
-- Elements are taken by subscript, because unnest would put each array into a table
-- of its own first; PL/pgSQL holds its arrays so that this costs no search.
CREATE FUNCTION append_events(
  believed text,
  b_org text[], b_tag text[], b_head bigint[],
  c_id uuid[], c_org text[], c_caller text[], c_key text[], c_hash bytea[], c_refusal text[],
  c_resource text[], c_created boolean[], c_version bigint[], c_events integer[],
  c_actor text[], c_on_behalf_of text[], c_request text[], c_correlation text[], c_causation text[],
  c_occurred timestamptz[],
  e_id uuid[], e_stream text[], e_version bigint[], e_type text[], e_schema_version integer[],
  e_tags text[], e_subjects text[], e_reason text[], e_data bytea[],
  OUT incarnation text, OUT base bigint, OUT recorded timestamptz, OUT moved integer[], OUT known_commands integer[], OUT known_keys integer[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan SET client_encoding = 'UTF8' AS $$
DECLARE
  log_epoch uuid;
  -- The number of each command's first event, and how many events there are so far.
  firsts    integer[] := '{}';
  total     integer := 0;
  untagged  integer;
  wrong     integer;
BEGIN
  incarnation := lock_log();

  SELECT e.position, e.recorded_at INTO base, recorded FROM events e ORDER BY e.position DESC LIMIT 1;
  base := coalesce(base, 0);
  -- The clock may step back; the log's time must not, so that a time means a position.
  recorded := greatest(clock_timestamp(), recorded);

  -- Here and below the upper bound says nothing new, but keeps the empty partitions
  -- ahead out of every look-up.
  SELECT array_agg(n) INTO moved
    FROM generate_series(1, cardinality(b_org)) AS n
   WHERE (SELECT true FROM event_tags t WHERE t.org = b_org[n] AND t.tag = b_tag[n]
                   AND t.position > b_head[n] AND t.position <= append_events.base LIMIT 1);

  IF (cardinality(b_org) > 0 AND incarnation IS DISTINCT FROM believed) OR moved IS NOT NULL THEN
    RETURN;
  END IF;

  FOR n IN 1 .. coalesce(cardinality(c_id), 0) LOOP
    firsts[n] := total + 1;
    total := total + greatest(c_events[n], 0);
  END LOOP;
  IF total <> coalesce(cardinality(e_id), 0) THEN
    RAISE EXCEPTION 'the events are not those of their commands' USING ERRCODE = 'data_exception';
  END IF;

  -- The unique indexes find what is known already, at no cost to what is not.
  BEGIN
    INSERT INTO receipts
    SELECT c_id[n], c_org[n], c_caller[n], c_key[n], c_hash[n], c_refusal[n]::json, c_resource[n], c_created[n], c_version[n],
           CASE WHEN c_events[n] > 0 THEN append_events.base + firsts[n] END,
           append_events.base + firsts[n] - 1 + greatest(c_events[n], 0), append_events.recorded
      FROM generate_series(1, cardinality(c_id)) AS n;
  EXCEPTION WHEN unique_violation THEN
    SELECT array_agg(n) INTO known_commands
      FROM generate_series(1, cardinality(c_id)) AS n
     WHERE (SELECT true FROM receipts r WHERE r.command_id = c_id[n]);
    SELECT array_agg(n) INTO known_keys
      FROM generate_series(1, cardinality(c_id)) AS n
     WHERE c_key[n] IS NOT NULL
       AND (SELECT true FROM receipts r WHERE r.org = c_org[n] AND r.caller = c_caller[n] AND r.idempotency_key = c_key[n]);
    IF known_commands IS NULL AND known_keys IS NULL THEN
      RAISE; -- the turn itself has something twice
    END IF;
    RETURN;
  END;

  IF total > 0 THEN
    SELECT l.epoch INTO log_epoch FROM log_epochs l ORDER BY l.number DESC LIMIT 1;

    WITH org_heads AS MATERIALIZED (
      -- As a range and sorted by both columns, so that no plan walks the primary key
      -- back to the last event of an organisation that has been silent for long.
      SELECT o.org, coalesce((SELECT e.org_position FROM events e WHERE e.org BETWEEN o.org AND o.org AND e.position <= append_events.base
                               ORDER BY e.org DESC, e.position DESC LIMIT 1), 0) AS head
        FROM (SELECT DISTINCT u.org FROM unnest(c_org) AS u(org)) o
    ), inserted AS (
      INSERT INTO events
      SELECT r.position, r.org_position, log_epoch, r.id, r.org, r.stream, r.version, r.type, r.schema_version,
             r.tags, r.subjects, r.data, r.actor::json, r.on_behalf_of::json, r.reason, r.request_id,
             r.correlation_id, r.causation_id, r.command_id, r.occurred_at, append_events.recorded,
             -- event_leaf of the row, before it is one.
             sha256('\x00'::bytea || record_send(ROW(
               'hub.event.1'::text, r.position, r.org_position, log_epoch, r.id, r.org, r.stream, r.version,
               r.type, r.schema_version, r.tags, r.subjects, r.data, r.actor, r.on_behalf_of,
               r.reason, r.request_id, r.correlation_id, r.causation_id, r.command_id,
               (extract(epoch FROM r.occurred_at) * 1000000)::bigint,
               (extract(epoch FROM append_events.recorded) * 1000000)::bigint)))
        FROM (SELECT append_events.base + p.n AS position, p.org_position, e_id[p.n] AS id, p.org, e_stream[p.n] AS stream,
                     e_version[p.n] AS version, e_type[p.n] AS type, e_schema_version[p.n] AS schema_version,
                     e_tags[p.n]::text[] AS tags, e_subjects[p.n]::text[] AS subjects, e_data[p.n] AS data,
                     c_actor[p.c] AS actor, c_on_behalf_of[p.c] AS on_behalf_of, e_reason[p.n] AS reason,
                     c_request[p.c] AS request_id, c_correlation[p.c] AS correlation_id, c_causation[p.c] AS causation_id,
                     c_id[p.c] AS command_id, c_occurred[p.c] AS occurred_at
                FROM (SELECT e.n, e.c, h.org, h.head + row_number() OVER (PARTITION BY h.org ORDER BY e.n) AS org_position
                        FROM (SELECT n, width_bucket(n, firsts) AS c FROM generate_series(1, total) AS n) e
                        JOIN org_heads h ON h.org = c_org[e.c]) p
              OFFSET 0) r
      RETURNING events.org, events.tags, events.position
    )
    INSERT INTO event_tags
    SELECT i.org, t.tag, i.position FROM inserted i CROSS JOIN LATERAL unnest(i.tags) AS t(tag);

    -- What follows are faults of the caller, and no reason to store nonsense for ever.
    -- The version before each event's own must be one less, and have come before it.
    SELECT count(*) FILTER (WHERE NOT e_stream[n] = ANY (e_tags[n]::text[])),
           count(*) FILTER (WHERE e_version[n] - 1 IS DISTINCT FROM coalesce((
             SELECT p.version FROM (
               SELECT e.version, e.position FROM events e
                WHERE e.org = c_org[width_bucket(n, firsts)] AND e.stream = e_stream[n] AND e.version <= e_version[n]
                  AND e.position <= append_events.base + total
                ORDER BY e.org DESC, e.stream DESC, e.version DESC OFFSET 1 LIMIT 1) p
              WHERE p.position < append_events.base + n), 0))
      INTO untagged, wrong
      FROM generate_series(1, total) AS n;
    IF untagged > 0 THEN
      RAISE EXCEPTION '% events lack the tag of their own stream', untagged USING ERRCODE = 'data_exception';
    END IF;
    IF wrong > 0 THEN
      RAISE EXCEPTION 'versions of % events do not continue the log', wrong USING ERRCODE = 'data_exception';
    END IF;
    -- For what goes with the events of this transaction: hub_keys.keep.
    PERFORM set_config('hub.appended', 'yes', true);
  END IF;
END
$$;

-- Stored outcomes by command or by idempotency key, with the types of their events.
CREATE FUNCTION find_receipts(ids uuid[], orgs text[], callers text[], keys text[])
RETURNS TABLE (receipt receipts, event_types text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT r, ARRAY(SELECT e.type FROM events e
                   WHERE e.position BETWEEN r.first_position AND r.position ORDER BY e.position)
    FROM unnest(ids, orgs, callers, keys) AS k(id, org, caller, key)
    JOIN receipts r ON r.command_id = k.id
                    OR (r.org = k.org AND r.caller = k.caller AND r.idempotency_key = k.key);
END
$$;

-- After a restore --------------------------------------------------------------

-- The first position that was recorded at the time or later; the one after the head
-- when there is none. Times never decrease, so it is found by halving.
CREATE FUNCTION position_since(since timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
  before bigint := 0;
  from_here bigint := (SELECT h.head + 1 FROM log_head() h);
  middle bigint;
BEGIN
  WHILE before + 1 < from_here LOOP
    middle := (before + from_here) / 2;
    IF (SELECT e.recorded_at FROM events e WHERE e.position = middle) < since THEN
      before := middle;
    ELSE
      from_here := middle;
    END IF;
  END LOOP;
  RETURN from_here;
END
$$;

-- Starts a new epoch, because the log has lost what had been published up to
-- lost_position; the message there was of the event lost_id (null: it is not known any
-- more). common is the last position known to be the same in both histories. What has
-- been appended since the loss stays: it was acknowledged, too.
--
-- False when it is not so, or not any more: another relay has started an epoch, or has
-- appended again what was lost. That is decided under the log's lock.
CREATE FUNCTION fork_log(believed uuid, lost_position bigint, lost_id uuid, common bigint, next uuid,
                         event_id uuid, event_command uuid, event_schema integer, event_data bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  incarnation text := lock_log();
  current     log_epochs;
  last        bigint;
  -- Not every epoch has an event: a restore starts one without.
  version     bigint := (SELECT count(*) + 1 FROM events e WHERE e.org = '_hub' AND e.stream = 'log:epochs');
BEGIN
  SELECT * INTO current FROM log_epochs l ORDER BY l.number DESC LIMIT 1;
  last := (SELECT h.head FROM log_head() h);
  IF current.epoch <> believed THEN
    RETURN false;
  END IF;
  IF fork_log.lost_position <= last AND (lost_id IS NULL OR EXISTS (
       SELECT FROM events e WHERE e.position = fork_log.lost_position AND e.id = lost_id)) THEN
    RETURN false;
  END IF;
  IF common > least(last, lost_position) THEN
    RAISE EXCEPTION 'the histories cannot have parted after position %', common USING ERRCODE = 'data_exception';
  END IF;
  -- The one event that a relay may write says what is done here, and nothing else.
  IF convert_from(event_data, 'UTF8')::jsonb <> jsonb_build_object('fork_position', common, 'old_epoch', believed,
       'new_epoch', next, 'lost_from', common + 1, 'lost_through', lost_position) THEN
    RAISE EXCEPTION 'the event does not say what happens' USING ERRCODE = 'data_exception';
  END IF;
  INSERT INTO log_epochs (number, epoch, after_position, fork_position, lost_position, lost_event)
  VALUES (current.number + 1, next, last, common, lost_position, lost_id);
  PERFORM append_events(
    believed => incarnation, b_org => '{}', b_tag => '{}', b_head => '{}',
    c_id => ARRAY[event_command], c_org => ARRAY['_hub'], c_caller => ARRAY['system:relay'], c_key => ARRAY[NULL::text],
    c_hash => ARRAY[NULL::bytea], c_refusal => ARRAY[NULL::text], c_resource => ARRAY['epochs'],
    c_created => ARRAY[version = 1], c_version => ARRAY[version], c_events => ARRAY[1],
    c_actor => ARRAY['{"sub":"system:relay","person":"system:relay"}'], c_on_behalf_of => ARRAY[NULL::text],
    c_request => ARRAY[NULL::text], c_correlation => ARRAY[NULL::text],
    c_causation => ARRAY[NULL::text], c_occurred => ARRAY[clock_timestamp()],
    e_id => ARRAY[event_id], e_stream => ARRAY['log:epochs'], e_version => ARRAY[version],
    e_type => ARRAY['log.forked'], e_schema_version => ARRAY[event_schema], e_tags => ARRAY['{log:epochs}'],
    e_subjects => ARRAY['{}'], e_reason => ARRAY[NULL::text], e_data => ARRAY[event_data]);
  RETURN true;
END
$$;

-- Begins a restore into an empty log (hub restore, as a superuser): the log gets the epochs
-- that it had, and a new one after the backup's head, since what came later is lost. Who
-- saw a position up to the head, under whatever epoch, has seen what is restored.
CREATE FUNCTION restore_epochs(epochs uuid[], afters bigint[], forks bigint[], starts timestamptz[], head bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM lock_log();
  DELETE FROM log_epochs;
  INSERT INTO log_epochs (number, epoch, after_position, fork_position, started_at)
  SELECT e.number, e.epoch, e.after, e.fork, e.started
    FROM unnest(epochs, afters, forks, starts) WITH ORDINALITY AS e(epoch, after, fork, started, number);
  INSERT INTO log_epochs (number, after_position, fork_position) VALUES (cardinality(epochs) + 1, head, head);
END
$$;

-- Writes again, exactly as they were, events that the log has lost and that the copy in
-- JetStream still has, with the receipts of their commands. False, and nothing is
-- written, unless they follow the log's last event in its own epoch: then something was
-- appended since, and they are lost. What is not as the log wrote it is an error. A tail
-- may take several calls in one transaction; the first takes the log's lock for all.
CREATE FUNCTION reappend_events(
  believed uuid, e_position bigint[], e_org_position bigint[], e_id uuid[], e_org text[], e_stream text[], e_version bigint[],
  e_type text[], e_schema_version integer[], e_tags text[], e_subjects text[], e_data bytea[], e_actor text[],
  e_on_behalf_of text[], e_reason text[], e_request text[], e_correlation text[], e_causation text[], e_command uuid[],
  e_occurred timestamptz[], e_recorded timestamptz[], e_leaf bytea[],
  r_command uuid[], r_org text[], r_caller text[], r_key text[], r_hash bytea[], r_resource text[], r_created boolean[],
  r_version bigint[], r_first bigint[], r_position bigint[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  last     bigint;
  recorded timestamptz;
  wrong    bigint;
BEGIN
  PERFORM lock_log();
  -- The next part has to come from NATS.
  PERFORM set_config('idle_in_transaction_session_timeout', '30s', true);
  IF (SELECT h.epoch FROM log_head() h) <> believed THEN
    RETURN false;
  END IF;
  SELECT e.position, e.recorded_at INTO last, recorded FROM events e ORDER BY e.position DESC LIMIT 1;
  last := coalesce(last, 0);
  IF e_position[1] <> last + 1 THEN
    RETURN false;
  END IF;

  INSERT INTO events
  SELECT e.position, e.org_position, believed, e.id, e.org, e.stream, e.version, e.type, e.schema_version,
         e.tags::text[], e.subjects::text[], e.data, e.actor::json, e.on_behalf_of::json, e.reason, e.request_id,
         e.correlation_id, e.causation_id, e.command_id, e.occurred_at, e.recorded_at, e.leaf_hash
    FROM unnest(e_position, e_org_position, e_id, e_org, e_stream, e_version, e_type, e_schema_version, e_tags, e_subjects,
                e_data, e_actor, e_on_behalf_of, e_reason, e_request, e_correlation, e_causation, e_command, e_occurred,
                e_recorded, e_leaf)
         AS e(position, org_position, id, org, stream, version, type, schema_version, tags, subjects, data, actor,
              on_behalf_of, reason, request_id, correlation_id, causation_id, command_id, occurred_at, recorded_at, leaf_hash);

  SELECT min(p.position) INTO wrong
    FROM (SELECT e.position, e.leaf_hash = sha256('\x00'::bytea || event_leaf(e)) AS hashed, e.stream = ANY (e.tags) AS tagged,
                 e.position - row_number() OVER (ORDER BY e.position) AS before,
                 e.org_position - row_number() OVER (PARTITION BY e.org ORDER BY e.position)
                   - coalesce((SELECT o.org_position FROM events o WHERE o.org = e.org AND o.position <= last
                                ORDER BY o.position DESC LIMIT 1), 0) AS org_gap,
                 e.version - row_number() OVER (PARTITION BY e.org, e.stream ORDER BY e.position)
                   - coalesce((SELECT max(o.version) FROM events o
                                WHERE o.org = e.org AND o.stream = e.stream AND o.position <= last), 0) AS version_gap,
                 e.recorded_at >= coalesce(lag(e.recorded_at) OVER (ORDER BY e.position), recorded, '-infinity') AS later
            FROM events e WHERE e.position > last) p
   WHERE NOT p.hashed OR NOT p.tagged OR NOT p.later OR p.before <> last OR p.org_gap <> 0 OR p.version_gap <> 0;
  IF wrong IS NOT NULL OR (SELECT count(*) FROM events e WHERE e.position > last) <> cardinality(e_position) THEN
    RAISE EXCEPTION 'the copy of position % is not what the log wrote', coalesce(wrong, last + 1) USING ERRCODE = 'data_exception';
  END IF;

  INSERT INTO event_tags
  SELECT e.org, t.tag, e.position FROM events e CROSS JOIN LATERAL unnest(e.tags) AS t(tag) WHERE e.position > last;

  IF EXISTS (SELECT FROM unnest(r_command, r_org, r_first, r_position) AS r(command_id, org, first, position)
              WHERE NOT EXISTS (SELECT FROM events e WHERE e.position = r.position AND e.position > last
                                   AND e.command_id = r.command_id AND e.org = r.org) OR r.first > r.position) THEN
    RAISE EXCEPTION 'a receipt does not belong to its event' USING ERRCODE = 'data_exception';
  END IF;
  -- A command may have been refused since, on the shorter log, under the same key: that
  -- answer was given last, and stays.
  INSERT INTO receipts
  SELECT r.command_id, r.org, r.caller, r.key, r.hash, NULL, r.resource, r.created, r.version, r.first, r.position, e.recorded_at
    FROM unnest(r_command, r_org, r_caller, r_key, r_hash, r_resource, r_created, r_version, r_first, r_position)
         AS r(command_id, org, caller, key, hash, resource, created, version, first, position)
    JOIN events e ON e.position = r.position
      ON CONFLICT DO NOTHING;
  RETURN true;
END
$$;

-- Tickets -----------------------------------------------------------------------

-- Which tickets of event streams have been used, for as long as they could be used again.
-- Not part of the history. Here, because whoever redeems one is about to read the log.
CREATE TABLE stream_tickets (
  ticket     uuid        NOT NULL PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX stream_tickets_expired ON stream_tickets (expires_at);

-- True once for a ticket, whichever processes bring it at the same time. The clock of the
-- processes may be behind this one by a minute; a ticket beyond that is not used for
-- the first time, and so may be forgotten.
CREATE FUNCTION use_stream_ticket(used uuid, good_until timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
  forgotten constant timestamptz := clock_timestamp() - interval '1 minute';
BEGIN
  IF good_until < forgotten THEN
    RETURN false;
  END IF;
  -- More than come, so that the table stays as small as a minute's tickets.
  DELETE FROM stream_tickets t WHERE t.ticket IN (
    SELECT o.ticket FROM stream_tickets o WHERE o.expires_at < forgotten ORDER BY o.expires_at LIMIT 10 FOR UPDATE SKIP LOCKED);
  INSERT INTO stream_tickets VALUES (used, good_until) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END
$$;

-- Records that things of the given subjects are shown: the one event that who answers
-- queries may write, of the organisation that this transaction is for, one for each element
-- of the arrays; event_subjects are array literals. They depend on nothing and nothing can
-- be decided on them, so they only have to wait for their turn.
CREATE FUNCTION record_accesses(event_id uuid[], event_command uuid[], event_actor text[], event_request text[], event_subjects text[],
                                event_schema integer[], event_data bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  org      text := nullif(current_setting('hub.org', true), '');
  tags     text[] := '{}';
  streams  text[] := '{}';
  appended record;
BEGIN
  FOR n IN 1 .. coalesce(cardinality(event_id), 0) LOOP
    IF cardinality(event_subjects[n]::text[]) > 0 IS NOT TRUE THEN
      RAISE EXCEPTION 'an access has subjects' USING ERRCODE = 'data_exception';
    END IF;
    streams[n] := 'access:' || event_id[n];
    tags[n] := (SELECT ARRAY[streams[n]] || array_agg(DISTINCT 'subject:' || s.subject) FROM unnest(event_subjects[n]::text[]) AS s(subject));
  END LOOP;
  IF org IS NULL OR cardinality(streams) = 0 THEN
    RAISE EXCEPTION 'an access has an organisation' USING ERRCODE = 'data_exception';
  END IF;
  SELECT * INTO appended FROM append_events(
    believed => '', b_org => '{}', b_tag => '{}', b_head => '{}',
    c_id => event_command, c_org => array_fill(org, ARRAY[cardinality(streams)]),
    c_caller => ARRAY(SELECT u.actor::json->>'sub' FROM unnest(event_actor) WITH ORDINALITY AS u(actor, n) ORDER BY u.n),
    c_key => array_fill(NULL::text, ARRAY[cardinality(streams)]), c_hash => array_fill(NULL::bytea, ARRAY[cardinality(streams)]),
    c_refusal => array_fill(NULL::text, ARRAY[cardinality(streams)]),
    c_resource => event_id::text[], c_created => array_fill(true, ARRAY[cardinality(streams)]),
    c_version => array_fill(1::bigint, ARRAY[cardinality(streams)]), c_events => array_fill(1, ARRAY[cardinality(streams)]),
    c_actor => event_actor, c_on_behalf_of => array_fill(NULL::text, ARRAY[cardinality(streams)]),
    c_request => event_request, c_correlation => event_request, c_causation => array_fill(NULL::text, ARRAY[cardinality(streams)]),
    c_occurred => array_fill(clock_timestamp(), ARRAY[cardinality(streams)]),
    e_id => event_id, e_stream => streams, e_version => array_fill(1::bigint, ARRAY[cardinality(streams)]),
    e_type => array_fill('access.recorded'::text, ARRAY[cardinality(streams)]), e_schema_version => event_schema,
    e_tags => tags, e_subjects => event_subjects, e_reason => array_fill(NULL::text, ARRAY[cardinality(streams)]), e_data => event_data);
  IF appended.known_commands IS NOT NULL THEN
    RAISE EXCEPTION 'this access is recorded already' USING ERRCODE = 'data_exception';
  END IF;
END
$$;

-- Functions are open to everybody unless this says otherwise.
REVOKE EXECUTE ON FUNCTION record_accesses FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_accesses TO hub_query;
REVOKE EXECUTE ON FUNCTION ensure_partitions(), log_head(), read_log, read_stream, log_time, load_boundaries, lock_log(), append_events, find_receipts,
  position_since, fork_log, reappend_events, restore_epochs, use_stream_ticket FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(), log_head(), load_boundaries, lock_log(), append_events, find_receipts TO hub_command;
GRANT EXECUTE ON FUNCTION log_head(), read_log TO hub_relay, hub_projector;
GRANT EXECUTE ON FUNCTION position_since, fork_log, reappend_events TO hub_relay;
GRANT EXECUTE ON FUNCTION read_stream TO hub_projector;
GRANT EXECUTE ON FUNCTION log_time TO hub_projector, hub_query;
GRANT EXECUTE ON FUNCTION log_head(), use_stream_ticket TO hub_query;

INSERT INTO log_epochs (number, after_position, fork_position) VALUES (1, 0, 0);
SELECT ensure_partitions();

RESET ROLE;

-- Purging ----------------------------------------------------------------------

-- Deletes the receipts of some pages of the table that are past their life, and says
-- where to go on: 0 when that was the end. Which are, is the policy's business. Pages
-- are walked as they lie: no index is kept for this where appends would pay for it, and
-- rows that were put into the place of purged ones are no trouble. It locks only rows
-- that nobody changes.
CREATE FUNCTION purge_receipts(from_page bigint, pages integer, OUT purged bigint, OUT next_page bigint, OUT all_pages bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  last_page bigint := least(from_page + least(greatest(pages, 1), 1024), 4294967295);
BEGIN
  -- What a crash brings back is purged by the next round.
  PERFORM set_config('synchronous_commit', 'off', true);
  DELETE FROM receipts r WHERE r.ctid >= format('(%s,0)', from_page)::tid AND r.ctid < format('(%s,0)', last_page)::tid;
  GET DIAGNOSTICS purged = ROW_COUNT;
  all_pages := pg_relation_size('public.receipts') / current_setting('block_size')::bigint;
  next_page := CASE WHEN last_page >= all_pages THEN 0 ELSE last_page END;
END
$$;
GRANT USAGE ON SCHEMA public TO hub_purge;
ALTER FUNCTION purge_receipts OWNER TO hub_purge;
REVOKE EXECUTE ON FUNCTION purge_receipts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION purge_receipts TO hub_command;

-- Snapshots --------------------------------------------------------------------

-- What the events of long boundaries came to, so that not all of them are read again:
-- a cache. Whoever drops rows, all of them or with a crash, loses nothing but time.
CREATE UNLOGGED TABLE boundary_snapshots (
  org         text        NOT NULL,
  tag         text        NOT NULL,
  -- The event of the log up to which it reaches.
  position    bigint      NOT NULL,
  event_id    uuid        NOT NULL,
  -- Of the program that folded it: another may fold otherwise.
  fingerprint bytea       NOT NULL,
  data        bytea       NOT NULL CHECK (octet_length(data) <= 1048576),
  saved_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org, tag)
);
ALTER TABLE boundary_snapshots OWNER TO hub_snapshots;
ALTER TABLE boundary_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE boundary_snapshots FORCE  ROW LEVEL SECURITY;
CREATE POLICY keeps ON boundary_snapshots TO hub_snapshots USING (true) WITH CHECK (true);
CREATE POLICY log_reads ON boundary_snapshots FOR SELECT TO hub_log USING (true);
GRANT SELECT ON boundary_snapshots TO hub_log;
GRANT USAGE ON SCHEMA public TO hub_snapshots;

-- The snapshots that this program made of the given boundaries. One whose event is not
-- in the log is of a history that was lost, and none of ours.
CREATE FUNCTION load_snapshots(orgs text[], tags text[], made_by bytea)
RETURNS TABLE (boundary integer, "position" bigint, event_id uuid, data bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT b.n::integer, s.position, s.event_id, s.data
    FROM unnest(orgs, tags) WITH ORDINALITY AS b(org, tag, n)
    JOIN boundary_snapshots s ON s.org = b.org AND s.tag = b.tag
   WHERE s.fingerprint = made_by
     AND (SELECT true FROM events e WHERE e.position = s.position AND e.id = s.event_id);
END
$$;
ALTER FUNCTION load_snapshots OWNER TO hub_log;

CREATE FUNCTION save_snapshots(orgs text[], tags text[], positions bigint[], event_ids uuid[], made_by bytea, datas bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  INSERT INTO boundary_snapshots (org, tag, position, event_id, fingerprint, data)
  SELECT s.org, s.tag, s.position, s.event_id, made_by, s.data
    FROM unnest(orgs, tags, positions, event_ids, datas) AS s(org, tag, position, event_id, data)
   ORDER BY s.org, s.tag -- two processes take rows in one order
      ON CONFLICT (org, tag) DO UPDATE
     SET position = excluded.position, event_id = excluded.event_id, fingerprint = excluded.fingerprint,
         data = excluded.data, saved_at = excluded.saved_at;
END
$$;
ALTER FUNCTION save_snapshots OWNER TO hub_snapshots;
REVOKE EXECUTE ON FUNCTION load_snapshots, save_snapshots FROM PUBLIC;
GRANT EXECUTE ON FUNCTION load_snapshots, save_snapshots TO hub_command;

-- Keys -------------------------------------------------------------------------

-- What opens sealed values, in a schema and with an owner of its own, so that a backup
-- of the log has none of it and whoever reads the log cannot read it. All keys are
-- wrapped by the master key, which no database has. internal/keyring uses these tables.
CREATE SCHEMA hub_keys AUTHORIZATION hub_keys;
GRANT USAGE ON SCHEMA hub_keys TO hub_command, hub_projector, hub_query;

SET ROLE hub_keys;

-- The master keys that keys are wrapped by, by their fingerprints: a process that lacks
-- one has another SECRET_KEY, and must not begin.
CREATE TABLE hub_keys.masters (id text NOT NULL PRIMARY KEY);

-- A random key for each data subject. An erased one leaves its row, so that the subject
-- never gets another key and a backup that is restored does not bring the old one back.
CREATE TABLE hub_keys.subject_keys (
  org        text COLLATE "C" NOT NULL,
  subject    text COLLATE "C" NOT NULL,
  wrapped    bytea CHECK (octet_length(wrapped) <= 1024),
  master     text,
  created_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
  erased_at  timestamptz,
  PRIMARY KEY (org, subject),
  CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL) AND (wrapped IS NULL) = (master IS NULL))
);

-- The secrets of an organisation that are of no subject, as the one of its keyed hashes.
CREATE TABLE hub_keys.secrets (
  org        text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  wrapped    bytea            NOT NULL CHECK (octet_length(wrapped) <= 1024),
  master     text             NOT NULL,
  created_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org, name)
);

-- What stands for a personal name in a tag, by the keyed hash of the name.
CREATE TABLE hub_keys.tokens (
  org   text COLLATE "C" NOT NULL,
  hash  bytea            NOT NULL CHECK (octet_length(hash) = 32),
  token uuid             NOT NULL,
  PRIMARY KEY (org, hash),
  UNIQUE (org, token)
);

ALTER TABLE hub_keys.masters      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hub_keys.subject_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hub_keys.secrets      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hub_keys.tokens       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY keeps ON hub_keys.masters      TO hub_keys USING (true) WITH CHECK (true);
CREATE POLICY keeps ON hub_keys.subject_keys TO hub_keys USING (true) WITH CHECK (true);
CREATE POLICY keeps ON hub_keys.secrets      TO hub_keys USING (true) WITH CHECK (true);
CREATE POLICY keeps ON hub_keys.tokens       TO hub_keys USING (true) WITH CHECK (true);

-- A key may be wrapped anew or erased, once; nothing else of it changes, and no row goes.
CREATE FUNCTION hub_keys.refuse_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND (NEW.org, NEW.subject, NEW.created_at) = (OLD.org, OLD.subject, OLD.created_at)
     AND (OLD.erased_at IS NULL OR NEW.erased_at = OLD.erased_at) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'keys are wrapped anew or erased, and nothing else: % on % is refused', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON hub_keys.subject_keys FOR EACH ROW EXECUTE FUNCTION hub_keys.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON hub_keys.subject_keys FOR EACH STATEMENT EXECUTE FUNCTION hub_keys.refuse_change();
ALTER TABLE hub_keys.subject_keys ENABLE ALWAYS TRIGGER kept;
ALTER TABLE hub_keys.subject_keys ENABLE ALWAYS TRIGGER not_truncated;

-- The keys of the given subjects, with the number of the subject; of an erased one all
-- else is null.
CREATE FUNCTION hub_keys.load_keys(orgs text[], subjects text[])
RETURNS TABLE (n integer, wrapped bytea, master text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT w.n::integer, k.wrapped, k.master
    FROM unnest(orgs, subjects) WITH ORDINALITY AS w(org, subject, n)
   CROSS JOIN LATERAL (SELECT * FROM hub_keys.subject_keys s WHERE s.org = w.org AND s.subject = w.subject OFFSET 0) k;
END
$$;

-- The same for the organisation that this transaction is for, and for no other.
CREATE FUNCTION hub_keys.load_own_keys(subjects text[])
RETURNS TABLE (n integer, wrapped bytea, master text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT k.n, k.wrapped, k.master
    FROM hub_keys.load_keys(array_fill(current_setting('hub.org'), ARRAY[cardinality(subjects)]), subjects) k;
END
$$;

-- Keeps new keys and tokens, in the transaction of the events that use them first.
-- Should another have been first, all of it is taken back (HK001). That is left to the
-- primary keys: to pass over what is there would cost each row a further look and record.
CREATE FUNCTION hub_keys.keep(k_org text[], k_subject text[], k_wrapped bytea[], k_master text[],
                              t_org text[], t_hash bytea[], t_token uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  -- A turn that was refused is decided again, and what was made for it goes with it.
  IF current_setting('hub.appended', true) IS DISTINCT FROM 'yes' THEN
    RETURN;
  END IF;
  IF cardinality(k_org) > 0 THEN
    INSERT INTO hub_keys.masters SELECT DISTINCT m.id FROM unnest(k_master) AS m(id) ON CONFLICT DO NOTHING;
    INSERT INTO hub_keys.subject_keys (org, subject, wrapped, master)
    SELECT k.org, k.subject, k.wrapped, k.master FROM unnest(k_org, k_subject, k_wrapped, k_master) AS k(org, subject, wrapped, master);
  END IF;
  IF cardinality(t_org) > 0 THEN
    INSERT INTO hub_keys.tokens (org, hash, token)
    SELECT t.org, t.hash, t.token FROM unnest(t_org, t_hash, t_token) AS t(org, hash, token);
  END IF;
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'a subject has a key already, or a name a token' USING ERRCODE = 'HK001';
END
$$;

CREATE FUNCTION hub_keys.find_tokens(orgs text[], hashes bytea[]) RETURNS TABLE (n integer, token uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT w.n::integer, k.token
    FROM unnest(orgs, hashes) WITH ORDINALITY AS w(org, hash, n)
   CROSS JOIN LATERAL (SELECT * FROM hub_keys.tokens t WHERE t.org = w.org AND t.hash = w.hash OFFSET 0) k;
END
$$;

-- The secret of this name, which is the one given unless there is one. Two who bring one
-- at once get the same: the later waits for the earlier.
CREATE FUNCTION hub_keys.ensure_secret(secret_org text, secret_name text, INOUT wrapped bytea, INOUT master text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO hub_keys.masters VALUES (ensure_secret.master) ON CONFLICT DO NOTHING;
  INSERT INTO hub_keys.secrets (org, name, wrapped, master)
  VALUES (secret_org, secret_name, ensure_secret.wrapped, ensure_secret.master) ON CONFLICT DO NOTHING;
  SELECT s.wrapped, s.master INTO ensure_secret.wrapped, ensure_secret.master
    FROM hub_keys.secrets s WHERE s.org = secret_org AND s.name = secret_name;
END
$$;

-- Of the organisation that this transaction is for; no row when there is none.
CREATE FUNCTION hub_keys.find_own_secret(secret_name text) RETURNS TABLE (wrapped bytea, master text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT s.wrapped, s.master FROM hub_keys.secrets s WHERE s.org = current_setting('hub.org') AND s.name = secret_name $$;

-- Destroys the key of a subject and what stood for its names. The row stays.
CREATE FUNCTION hub_keys.erase(erased_org text, erased_subject text, erased_tokens uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true); -- who is told that it is gone may rely on it
  INSERT INTO hub_keys.subject_keys AS k (org, subject, erased_at) VALUES (erased_org, erased_subject, clock_timestamp())
      ON CONFLICT (org, subject) DO UPDATE SET wrapped = NULL, master = NULL, erased_at = coalesce(k.erased_at, excluded.erased_at);
  DELETE FROM hub_keys.tokens t WHERE t.org = erased_org AND t.token = ANY (erased_tokens);
END
$$;

CREATE FUNCTION hub_keys.find_masters() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT m.id FROM hub_keys.masters m $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA hub_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hub_keys.load_keys, hub_keys.ensure_secret, hub_keys.find_masters TO hub_command, hub_projector;
GRANT EXECUTE ON FUNCTION hub_keys.keep, hub_keys.find_tokens, hub_keys.erase TO hub_command;
GRANT EXECUTE ON FUNCTION hub_keys.load_own_keys, hub_keys.find_own_secret, hub_keys.find_masters TO hub_query;

RESET ROLE;

CREATE EVENT TRIGGER log_refuses_drop ON sql_drop EXECUTE FUNCTION hub_guard.refuse_ddl();
CREATE EVENT TRIGGER log_refuses_ddl ON ddl_command_end EXECUTE FUNCTION hub_guard.refuse_ddl();
ALTER EVENT TRIGGER log_refuses_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER log_refuses_ddl ENABLE ALWAYS;

-- Commits with all of the above: a migration that was cut off is told by it.
COMMENT ON TABLE log_migrations IS '1';

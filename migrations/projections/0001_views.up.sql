-- What the read side keeps beside the views themselves. It may live on a server of
-- its own, so the roles it needs are made here too.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['hub_projector', 'hub_query', 'hub_search'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', name);
      END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- another migration made it in this moment
    END;
  END LOOP;
  -- Each version of a view is a schema that the projector makes and drops.
  EXECUTE format('GRANT CREATE ON DATABASE %I TO hub_projector', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO hub_projector, hub_query, hub_search;

-- hub_search owns the functions that search within an organisation; the projector makes
-- them with each version of a view. Nobody logs in as it.
GRANT hub_search TO hub_projector;

-- What the search rests on. Any owner of a database may make this extension.
DO $$
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm' AND extnamespace = 'public'::regnamespace) THEN
    RAISE EXCEPTION 'the extension pg_trgm is in a schema other than public: run ALTER EXTENSION pg_trgm SET SCHEMA public';
  END IF;
  IF to_regcollation('pg_catalog."und-x-icu"') IS NULL THEN
    RAISE EXCEPTION 'this PostgreSQL was built without ICU, which the search needs: use one that was built with it, as all packages are';
  END IF;
EXCEPTION
  WHEN undefined_file OR feature_not_supported OR insufficient_privilege THEN
    RAISE EXCEPTION 'the extension pg_trgm cannot be made (%): install the contrib modules of PostgreSQL, or let a superuser run CREATE EXTENSION pg_trgm WITH SCHEMA public in this database', SQLERRM;
END
$$;

-- Which schema answers for a view. Swapping a rebuilt one in is one update here, and
-- so is the way back to the one before it, which is kept up until it is pruned.
-- version is the projection's; builds counts the schemas that were made for the view:
-- no schema name is ever used twice, so that nobody takes a new one for an old one.
CREATE TABLE view_pointers (
  name             text    NOT NULL PRIMARY KEY,
  schema           text    NOT NULL UNIQUE,
  version          integer NOT NULL CHECK (version > 0),
  builds           integer NOT NULL DEFAULT 1 CHECK (builds > 0),
  previous         text    UNIQUE CHECK (previous <> schema),
  previous_version integer CHECK ((previous_version IS NULL) = (previous IS NULL)),
  -- Versions up to this one are built on command only: somebody went back from them.
  held             integer NOT NULL DEFAULT 0,
  -- Why the view does not go on, in a sentence; empty when all is well.
  fault            text    NOT NULL DEFAULT '',
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How far each schema has come. Written in the transaction of the rows it speaks for.
CREATE TABLE view_checkpoints (
  schema     text        NOT NULL PRIMARY KEY,
  position   bigint      NOT NULL CHECK (position >= 0),
  epoch      uuid        NOT NULL,
  updated_at timestamptz NOT NULL,
  -- When the event at the position was recorded: the rows are those of that time.
  recorded_at timestamptz NOT NULL DEFAULT 'epoch',
  -- Goes up when whoever writes must look again: a stream was parked or freed, or
  -- another schema answers for the view.
  revision   bigint      NOT NULL DEFAULT 0,
  -- The rows are of a history that the log has lost: nobody is to be shown them.
  lost       boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 10); -- one row a view, updated all the time: leave room beside it

-- The log's epochs, as a projector saw them last, for those who read here and have no
-- log: what was known under an earlier epoch is true up to fork_position.
CREATE TABLE view_epochs (
  number        bigint NOT NULL PRIMARY KEY,
  epoch         uuid   NOT NULL UNIQUE,
  fork_position bigint NOT NULL
);
GRANT SELECT, INSERT, DELETE ON view_epochs TO hub_projector;
GRANT SELECT ON view_epochs TO hub_query;

-- The streams that a schema cannot follow, because it could not apply one of their
-- events; all events of the stream from next_version on are missing in its rows.
CREATE TABLE view_parked (
  schema         text        NOT NULL REFERENCES view_checkpoints ON DELETE CASCADE,
  org            text        NOT NULL,
  stream         text        NOT NULL,
  stream_hash    text        NOT NULL, -- for those who may not know the two
  next_version   bigint      NOT NULL CHECK (next_version > 0),
  first_position bigint      NOT NULL CHECK (first_position > 0),
  last_position  bigint      NOT NULL CHECK (last_position >= first_position),
  events         bigint      NOT NULL CHECK (events > 0),
  reason         text        NOT NULL CHECK (reason IN ('unreadable', 'newer', 'refused')),
  parked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (schema, org, stream)
);

-- What is to be done for a view beside following the log, and what became of it. Of one
-- view one at a time; whichever projector has the lease does it, and starts again what
-- a dead one began.
CREATE TABLE view_jobs (
  id           uuid        NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(),
  view         text        NOT NULL,
  version      integer     NOT NULL, -- of the projection that it is for
  kind         text        NOT NULL CHECK (kind IN ('rebuild', 'verify', 'retry')),
  requested_by text        NOT NULL CHECK (requested_by IN ('operator', 'schedule', 'upgrade', 'restore')),
  state        text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
  done         bigint      NOT NULL DEFAULT 0,
  total        bigint      NOT NULL DEFAULT 0,
  attempts     integer     NOT NULL DEFAULT 0,
  cancel       boolean     NOT NULL DEFAULT false,
  error        text        NOT NULL DEFAULT '',
  -- How much is wrong: differences of a verify, streams that a retry has left.
  findings     bigint      NOT NULL DEFAULT 0,
  -- In full; it may name rows of any organisation.
  report       json,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at   timestamptz,
  updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at  timestamptz
);
CREATE UNIQUE INDEX view_jobs_one_at_a_time ON view_jobs (view) WHERE state IN ('queued', 'running');
CREATE INDEX view_jobs_latest ON view_jobs (view, requested_at);

-- Who does, of many processes, what one need do; see internal/lease.
CREATE TABLE view_leases (
  name       text        NOT NULL PRIMARY KEY CHECK (name ~ '^[a-z0-9_.:/-]{1,64}$'),
  holder     uuid        NOT NULL,
  token      bigint      NOT NULL CHECK (token > 0),
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- How far each reaction has come; it moves when an event is done with.
CREATE TABLE reaction_checkpoints (
  name       text        NOT NULL PRIMARY KEY CHECK (name ~ '^[a-z][a-z_]{0,47}$'),
  position   bigint      NOT NULL CHECK (position >= 0),
  epoch      uuid        NOT NULL,
  updated_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Events that a reaction could not react to, and those behind them in their streams,
-- which have no attempts. retry asks whoever does the reaction to take it up again.
CREATE TABLE reaction_parked (
  reaction    text        NOT NULL,
  position    bigint      NOT NULL,
  event_id    uuid        NOT NULL,
  org         text        NOT NULL,
  stream      text        NOT NULL,
  stream_hash text        NOT NULL, -- for those who may not know the two
  type        text        NOT NULL,
  reason      text        NOT NULL,
  attempts    integer     NOT NULL CHECK (attempts >= 0),
  retry       boolean     NOT NULL,
  parked_at   timestamptz NOT NULL,
  PRIMARY KEY (reaction, position)
);
CREATE INDEX reaction_parked_stream ON reaction_parked (reaction, org, stream, position);

-- Timers that have fired, also those whose command changed nothing or was refused, and so
-- that no event took out of the view. In a table of its own, so that a view built again
-- fires none of them again. position and epoch say with which state of the log: a log that
-- has lost that since fires the timer once more.
CREATE TABLE timer_marks (
  kind      text        NOT NULL,
  set_by    uuid        NOT NULL, -- the event that had set the timer; of one kind it sets one
  outcome   text        NOT NULL CHECK (outcome IN ('fired', 'refused', 'parked')),
  reason    text        NOT NULL, -- the code of a refusal
  position  bigint      NOT NULL,
  epoch     uuid        NOT NULL,
  marked_at timestamptz NOT NULL,
  PRIMARY KEY (kind, set_by)
);
CREATE INDEX timer_marks_oldest ON timer_marks (marked_at);

-- The answers to what operators asked for with an Idempotency-Key, written with what it led
-- to. A row without either answer is of a request whose transaction is still under way, so
-- nobody sees one.
CREATE TABLE operation_receipts (
  org             text        NOT NULL,
  caller          text        NOT NULL,
  idempotency_key text        NOT NULL,
  request_hash    bytea       NOT NULL,
  answer          json,
  refusal         json,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org, caller, idempotency_key),
  CHECK (num_nonnulls(answer, refusal) <= 1)
);
CREATE INDEX operation_receipts_oldest ON operation_receipts (created_at);
ALTER TABLE operation_receipts ENABLE ROW LEVEL SECURITY;
ALTER TABLE operation_receipts FORCE  ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON operation_receipts TO hub_query
  USING (org = nullif(current_setting('hub.org', true), '')) WITH CHECK (org = nullif(current_setting('hub.org', true), ''));
CREATE POLICY past_their_life ON operation_receipts TO hub_projector USING (created_at < clock_timestamp() - interval '7 days');
GRANT SELECT, INSERT (org, caller, idempotency_key, request_hash), UPDATE (answer, refusal) ON operation_receipts TO hub_query;
GRANT SELECT (created_at), DELETE ON operation_receipts TO hub_projector;

-- Moves a checkpoint from one position to another, or raises HB001 when it is not
-- there: whoever else moved it has written those rows. An error, because a batch is
-- sent in one go and only an error takes its other statements back. It sets no search_path,
-- which would take as long as the update itself: it acts as its caller, and names its schema.
CREATE FUNCTION advance_view(view_schema text, from_position bigint, to_position bigint, to_epoch uuid, to_recorded_at timestamptz,
                             known_revision bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.view_checkpoints c
     SET position = to_position, epoch = to_epoch, recorded_at = to_recorded_at, updated_at = clock_timestamp()
   WHERE c.schema = view_schema AND c.position = from_position AND c.position < to_position AND c.revision = known_revision;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'view % is not at position % any more', view_schema, from_position USING ERRCODE = 'HB001';
  END IF;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON view_pointers, view_checkpoints, view_parked, view_jobs TO hub_projector;
GRANT SELECT ON view_pointers, view_checkpoints TO hub_query;
-- What all organisations share, and nothing that names one of them or what is theirs.
GRANT SELECT (schema, stream_hash, first_position, last_position, events, reason, parked_at) ON view_parked TO hub_query;
GRANT SELECT (id, view, version, kind, requested_by, state, done, total, attempts, cancel, error, findings, requested_at, started_at,
              updated_at, finished_at) ON view_jobs TO hub_query;
GRANT INSERT (view, version, kind, requested_by), UPDATE (cancel) ON view_jobs TO hub_query;
GRANT SELECT, INSERT, UPDATE ON view_leases TO hub_projector;
GRANT SELECT, INSERT, UPDATE ON reaction_checkpoints TO hub_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON reaction_parked, timer_marks TO hub_projector;
GRANT SELECT ON reaction_checkpoints TO hub_query;
GRANT SELECT (reaction, position, event_id, stream_hash, type, reason, attempts, retry, parked_at), UPDATE (retry), DELETE
  ON reaction_parked TO hub_query;
REVOKE EXECUTE ON FUNCTION advance_view FROM PUBLIC;
GRANT EXECUTE ON FUNCTION advance_view TO hub_projector;

-- Commits with all of the above: a migration that was cut off is told by it.
COMMENT ON TABLE projection_migrations IS '1';

-- What the read side keeps beside the views themselves. It may live on a server of
-- its own, so the roles it needs are made here too.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['hub_projector', 'hub_query'] LOOP
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

GRANT USAGE ON SCHEMA public TO hub_projector, hub_query;

-- Which schema answers for a view. Swapping a rebuilt one in is one update here.
-- version is the projection's, build counts how often that version was built: no
-- schema name is ever used twice, so that nobody takes a new view for an old one.
CREATE TABLE view_pointers (
  name    text    NOT NULL PRIMARY KEY,
  schema  text    NOT NULL UNIQUE,
  version integer NOT NULL CHECK (version > 0),
  build   integer NOT NULL CHECK (build > 0)
);

-- How far each schema has come. Written in the transaction of the rows it speaks for.
CREATE TABLE view_checkpoints (
  schema     text        NOT NULL PRIMARY KEY,
  position   bigint      NOT NULL CHECK (position >= 0),
  epoch      uuid        NOT NULL,
  updated_at timestamptz NOT NULL
) WITH (fillfactor = 10); -- one row a view, updated all the time: leave room beside it

-- Who does, of many processes, what one need do; see internal/lease.
CREATE TABLE view_leases (
  name       text        NOT NULL PRIMARY KEY CHECK (name ~ '^[a-z0-9_.:/-]{1,64}$'),
  holder     uuid        NOT NULL,
  token      bigint      NOT NULL CHECK (token > 0),
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Moves a checkpoint from one position to another, or raises HB001 when it is not
-- there: whoever else moved it has written those rows. An error, because a batch is
-- sent in one go and only an error takes its other statements back.
CREATE FUNCTION advance_view(view_schema text, from_position bigint, to_position bigint, to_epoch uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE view_checkpoints c
     SET position = to_position, epoch = to_epoch, updated_at = clock_timestamp()
   WHERE c.schema = view_schema AND c.position = from_position;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'view % is not at position % any more', view_schema, from_position USING ERRCODE = 'HB001';
  END IF;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON view_pointers, view_checkpoints TO hub_projector;
GRANT SELECT ON view_pointers, view_checkpoints TO hub_query;
GRANT SELECT, INSERT, UPDATE ON view_leases TO hub_projector;
REVOKE EXECUTE ON FUNCTION advance_view FROM PUBLIC;
GRANT EXECUTE ON FUNCTION advance_view TO hub_projector;

-- Commits with all of the above: a migration that was cut off is told by it.
COMMENT ON TABLE projection_migrations IS '1';

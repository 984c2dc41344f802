-- Views can always be rebuilt from the log, so nothing is lost. Every schema of the
-- projector's is a view, also one that a failed rebuild left behind.
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspowner = 'hub_projector'::regrole LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
  EXECUTE format('REVOKE CREATE ON DATABASE %I FROM hub_projector', current_database());
END
$$;

DROP FUNCTION advance_view;
DROP TABLE view_jobs, view_parked, view_epochs, view_checkpoints, view_pointers, view_leases, reaction_checkpoints, reaction_parked, timer_marks, operation_receipts;

COMMENT ON TABLE projection_migrations IS NULL;

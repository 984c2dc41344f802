-- Goes back to an empty database, and only from an empty log.
DO $$
BEGIN
  IF EXISTS (SELECT FROM public.events) THEN
    RAISE EXCEPTION 'the log is not empty: migrating down would destroy it' USING ERRCODE = 'insufficient_privilege';
  END IF;
END
$$;

DROP EVENT TRIGGER log_refuses_ddl;
DROP EVENT TRIGGER log_refuses_drop;

DROP SCHEMA hub_keys CASCADE;
DROP FUNCTION purge_receipts, load_snapshots, save_snapshots;
DROP TABLE boundary_snapshots;
DROP FUNCTION use_stream_ticket;
DROP TABLE stream_tickets;
DROP FUNCTION restore_epochs, position_since, fork_log, reappend_events, find_receipts, record_accesses, append_events, lock_log, log_incarnation, load_boundaries, read_log, read_stream, log_time, log_head,
              event_leaf, ensure_partitions, partition_size;
DROP TABLE receipts, event_tags, events, log_epochs, log_lock, log_leases;
DROP SCHEMA hub_guard CASCADE;

-- The roles stay: they belong to the server and other databases may use them.
REVOKE ALL ON SCHEMA public FROM hub_log, hub_purge, hub_snapshots, hub_keys, hub_command, hub_relay, hub_projector, hub_query;

COMMENT ON TABLE log_migrations IS NULL;

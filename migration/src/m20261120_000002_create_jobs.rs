//! The job engine's table.
//!
//! `state` is in the predicates of partial indexes, so no update is a HOT one and every index is paid three times
//! a job, and free space in the pages is of no use. Hence no index that a statement does not need: due rows by priority, live rows, a user's rows, live
//! unique keys, and a BRIN (nearly free) for pruning.
//!
//! For the same reason there are no CHECKs: each would be evaluated at each of a job's three updates, and costs about a
//! tenth of the throughput. States and priorities are written by `shared::queue` and `worker::runner` alone.
//!
//! `job_now()` is the engine's clock. A test database replaces it by one that reads a row.

crate::sql_migration!(
    "CREATE FUNCTION job_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT now()';
    CREATE TABLE jobs (
        id uuid CONSTRAINT jobs_pkey PRIMARY KEY,
        kind text NOT NULL,
        queue text NOT NULL,
        priority smallint NOT NULL DEFAULT 50,
        state text NOT NULL DEFAULT 'queued',
        payload jsonb NOT NULL,
        result jsonb,
        progress smallint NOT NULL DEFAULT 0,
        progress_note text,
        attempt int NOT NULL DEFAULT 0,
        max_attempts int NOT NULL DEFAULT 3,
        epoch int NOT NULL DEFAULT 0,
        crash_count smallint NOT NULL DEFAULT 0,
        run_at timestamptz NOT NULL,
        dispatched_at timestamptz,
        lease_until timestamptz,
        worker_id text,
        timeout_ms bigint NOT NULL,
        unique_key text,
        rerun boolean NOT NULL DEFAULT false,
        cancel_requested_at timestamptz,
        user_id uuid,
        request_id text,
        traceparent text,
        last_error text,
        errors jsonb,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
            autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05,
            autovacuum_vacuum_insert_scale_factor = 0.2);
    CREATE INDEX jobs_due ON jobs (queue, priority, run_at, id) WHERE state = 'queued';
    CREATE INDEX jobs_live ON jobs (state) WHERE state IN ('dispatched', 'running');
    CREATE INDEX jobs_user_id ON jobs (user_id, created_at, id) WHERE user_id IS NOT NULL;
    CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
        WHERE unique_key IS NOT NULL AND state IN ('queued', 'dispatched', 'running');
    CREATE INDEX jobs_finished_at ON jobs USING brin (finished_at);",
    "DROP TABLE jobs; DROP FUNCTION job_now();"
);

//! Jobs of a group: how many may run at once, how fast they begin, and in which order.
//!
//! A due job that its group has no room for is `parked`: it leaves the index of due rows, so that a group with a deep
//! backlog hides nobody else's jobs, and comes back when the group has room. All indexes are partial: jobs without a
//! group pay for none of them.
//!
//! `jobs_parked` finds the groups of a queue that wait, and the oldest row of each; `jobs_held` counts what a group has
//! going; `order_no` is drawn when a job is asked for, which is after the locks of its cause, and `jobs_order` tells whether an older job of the same order lives.

crate::sql_migration!(
    "ALTER TABLE jobs ADD group_key text, ADD group_limit smallint, ADD order_key text, ADD order_no bigint;
    CREATE SEQUENCE jobs_order_no;
    DROP INDEX jobs_unique_key;
    CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
        WHERE unique_key IS NOT NULL AND state IN ('queued', 'parked', 'dispatched', 'running');
    CREATE INDEX jobs_parked ON jobs (queue, group_key, created_at, id) WHERE state = 'parked';
    CREATE INDEX jobs_held ON jobs (group_key) WHERE group_key IS NOT NULL AND state IN ('dispatched', 'running');
    CREATE INDEX jobs_order ON jobs (group_key, order_key, order_no)
        WHERE order_key IS NOT NULL AND state IN ('queued', 'parked', 'dispatched', 'running');
    CREATE TABLE job_groups (
        key text CONSTRAINT job_groups_pkey PRIMARY KEY,
        bound smallint CONSTRAINT job_groups_bound_check CHECK (bound > 0),
        is_unordered boolean NOT NULL DEFAULT false,
        not_before timestamptz,
        interval_us bigint CONSTRAINT job_groups_interval_us_check CHECK (interval_us > 0),
        next_at timestamptz
    );",
    "UPDATE jobs SET state = 'queued' WHERE state = 'parked';
    DROP TABLE job_groups;
    DROP INDEX jobs_order;
    DROP INDEX jobs_held;
    DROP INDEX jobs_parked;
    DROP INDEX jobs_unique_key;
    CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
        WHERE unique_key IS NOT NULL AND state IN ('queued', 'dispatched', 'running');
    ALTER TABLE jobs DROP order_no, DROP order_key, DROP group_limit, DROP group_key;
    DROP SEQUENCE jobs_order_no;"
);

//! What a worker counts in the queues every five seconds, for the metrics.
//!
//! All rows are written each time; the free space of the pages makes these updates HOT ones.

crate::sql_migration!(
    "CREATE TABLE queue_figures (
        queue text NOT NULL,
        state text NOT NULL,
        depth bigint NOT NULL,
        oldest_ready_at timestamptz,
        sampled_at timestamptz NOT NULL,
        CONSTRAINT queue_figures_pkey PRIMARY KEY (queue, state)
    ) WITH (fillfactor = 50);",
    "DROP TABLE queue_figures;"
);

//! Calls of providers that jobs are at: what is written of each where its worker dies before it ends.

crate::sql_migration!(
    "CREATE TABLE calls (
        id uuid CONSTRAINT calls_pkey PRIMARY KEY,
        -- Without a foreign key: what was asked is paid for, whatever becomes of the job.
        job_id uuid NOT NULL,
        epoch int NOT NULL,
        estimate jsonb NOT NULL
    );",
    "DROP TABLE calls;"
);

//! What is said in uploads.

crate::sql_migration!(
    "CREATE TABLE transcriptions (
        attachment_id uuid CONSTRAINT transcriptions_pkey PRIMARY KEY
            CONSTRAINT transcriptions_attachment_id_fkey REFERENCES attachments ON DELETE CASCADE,
        job_id uuid NOT NULL,
        earlier_jobs uuid[] NOT NULL DEFAULT '{}',
        status text NOT NULL CONSTRAINT transcriptions_status_check
            CHECK (status IN ('processing', 'succeeded', 'failed', 'cancelled')),
        requested_language text,
        text text,
        language text,
        confidence real,
        segments jsonb,
        words jsonb,
        duration_seconds double precision,
        engine text,
        model text,
        error text,
        versions int NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL,
        finished_at timestamptz
    );",
    "DROP TABLE transcriptions;"
);

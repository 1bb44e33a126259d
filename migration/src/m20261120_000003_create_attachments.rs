//! Uploads, and what was read in them.

crate::sql_migration!(
    "CREATE TABLE attachments (
        id uuid CONSTRAINT attachments_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT attachments_user_id_fkey REFERENCES users ON DELETE CASCADE,
        conversation_id uuid,
        message_id uuid,
        kind text NOT NULL CONSTRAINT attachments_kind_check CHECK (kind IN ('image')),
        file_name text NOT NULL,
        media_type text NOT NULL,
        size_bytes bigint NOT NULL,
        sha256 bytea NOT NULL,
        width int,
        height int,
        storage_key text NOT NULL CONSTRAINT attachments_storage_key_key UNIQUE,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX attachments_user_id ON attachments (user_id, created_at, id);
    CREATE TABLE recognitions (
        attachment_id uuid CONSTRAINT recognitions_pkey PRIMARY KEY
            CONSTRAINT recognitions_attachment_id_fkey REFERENCES attachments ON DELETE CASCADE,
        job_id uuid NOT NULL,
        status text NOT NULL CONSTRAINT recognitions_status_check
            CHECK (status IN ('processing', 'succeeded', 'failed', 'cancelled')),
        language text,
        confidence real,
        low_confidence boolean NOT NULL DEFAULT false,
        extracted_text text,
        words jsonb,
        error text,
        created_at timestamptz NOT NULL,
        finished_at timestamptz
    );",
    "DROP TABLE recognitions; DROP TABLE attachments;"
);

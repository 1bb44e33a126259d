//! Exports of conversations. No deletion cascades to them: each may name an object.

crate::sql_migration!(
    "CREATE TABLE exports (
        id uuid CONSTRAINT exports_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT exports_user_id_fkey REFERENCES users,
        conversation_id uuid NOT NULL CONSTRAINT exports_conversation_id_fkey REFERENCES conversations,
        job_id uuid NOT NULL,
        format text NOT NULL CONSTRAINT exports_format_check
            CHECK (format IN ('pdf', 'docx', 'html', 'markdown', 'json', 'csv')),
        since timestamptz,
        until timestamptz,
        include_attachments boolean NOT NULL,
        whole_tree boolean NOT NULL,
        leaf_id uuid,
        status text NOT NULL CONSTRAINT exports_status_check
            CHECK (status IN ('processing', 'succeeded', 'failed', 'cancelled')),
        error text,
        file_name text NOT NULL,
        storage_key text COLLATE \"C\" CONSTRAINT exports_storage_key_key UNIQUE,
        size_bytes bigint,
        sha256 bytea,
        message_count bigint,
        created_at timestamptz NOT NULL,
        finished_at timestamptz,
        expires_at timestamptz,
        CONSTRAINT exports_object_check CHECK ((status = 'succeeded') = (storage_key IS NOT NULL))
    );
    CREATE INDEX exports_user_id ON exports (user_id, created_at DESC, id DESC);
    CREATE INDEX exports_conversation_id ON exports (conversation_id, created_at DESC, id DESC);
    CREATE INDEX exports_expires_at ON exports (expires_at);",
    "DROP TABLE exports;"
);

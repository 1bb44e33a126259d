//! Documents and audio beside pictures, lists of attachments, and reading them again.

crate::sql_migration!(
    "ALTER TABLE attachments DROP CONSTRAINT attachments_kind_check;
    ALTER TABLE attachments ADD CONSTRAINT attachments_kind_check CHECK (kind IN ('image', 'document', 'audio'));
    CREATE INDEX attachments_user_id_kind ON attachments (user_id, kind, created_at, id);
    CREATE INDEX attachments_conversation_id ON attachments (conversation_id, created_at, id)
        WHERE conversation_id IS NOT NULL;
    ALTER TABLE recognitions
        ADD COLUMN requested_language text,
        ADD COLUMN pages jsonb,
        ADD COLUMN page_count int,
        ADD COLUMN truncated boolean NOT NULL DEFAULT false,
        ADD COLUMN readings int NOT NULL DEFAULT 0,
        ADD COLUMN earlier_jobs uuid[] NOT NULL DEFAULT '{}';
    UPDATE recognitions SET readings = 1 WHERE status = 'succeeded';",
    // Rows of the new kinds stay: the check of the old ones is for new rows.
    "ALTER TABLE recognitions
        DROP COLUMN requested_language, DROP COLUMN pages, DROP COLUMN page_count, DROP COLUMN truncated,
        DROP COLUMN readings, DROP COLUMN earlier_jobs;
    DROP INDEX attachments_conversation_id;
    DROP INDEX attachments_user_id_kind;
    ALTER TABLE attachments DROP CONSTRAINT attachments_kind_check;
    ALTER TABLE attachments ADD CONSTRAINT attachments_kind_check CHECK (kind IN ('image')) NOT VALID;"
);

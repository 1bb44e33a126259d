//! Objects that no attachment names yet, what it takes that no object is ever forgotten, and which storage each worker
//! sees.
//!
//! Keys are compared by their bytes, as stores list them, so that both sides can be walked together.
//!
//! No deletion cascades to attachments: with their rows would go what says which objects are to be removed.

crate::sql_migration!(
    "CREATE TABLE pending_objects (
        storage_key text COLLATE \"C\" CONSTRAINT pending_objects_pkey PRIMARY KEY,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX pending_objects_created_at ON pending_objects (created_at);
    CREATE TABLE storage_views (
        worker_id text CONSTRAINT storage_views_pkey PRIMARY KEY,
        identity text,
        seen_at timestamptz NOT NULL
    );
    ALTER TABLE attachments ALTER COLUMN storage_key TYPE text COLLATE \"C\",
        DROP CONSTRAINT attachments_user_id_fkey,
        ADD CONSTRAINT attachments_user_id_fkey FOREIGN KEY (user_id) REFERENCES users;",
    "ALTER TABLE attachments ALTER COLUMN storage_key TYPE text COLLATE \"default\",
        DROP CONSTRAINT attachments_user_id_fkey,
        ADD CONSTRAINT attachments_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
    DROP TABLE storage_views;
    DROP TABLE pending_objects;"
);

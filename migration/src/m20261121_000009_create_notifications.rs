//! What users are told inside the product, and what showing and keeping deliveries needs.
//!
//! Few deliveries have not succeeded, and they are what one looks for: they have an index of their own. Deliveries and
//! attempts go with their event, so only events are looked up by their age.

crate::sql_migration!(
    "CREATE TABLE notifications (
        id uuid CONSTRAINT notifications_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT notifications_user_id_fkey REFERENCES users ON DELETE CASCADE,
        kind text NOT NULL,
        topic text,
        title text NOT NULL,
        body text NOT NULL,
        data jsonb NOT NULL,
        read_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    );
    CREATE INDEX notifications_user_id ON notifications (user_id, created_at DESC, id DESC);
    CREATE INDEX notifications_unread ON notifications (user_id, created_at DESC, id DESC) WHERE read_at IS NULL;
    CREATE UNIQUE INDEX notifications_topic_key ON notifications (user_id, topic) WHERE read_at IS NULL;
    CREATE INDEX notifications_created_at ON notifications USING brin (created_at);
    ALTER TABLE deliveries ADD job_id uuid;
    CREATE INDEX deliveries_unsucceeded ON deliveries (webhook_id, created_at DESC, id DESC)
        WHERE status <> 'succeeded';
    CREATE INDEX events_created_at ON events (created_at);",
    "DROP INDEX events_created_at;
    DROP INDEX deliveries_unsucceeded;
    ALTER TABLE deliveries DROP job_id;
    DROP TABLE notifications;"
);

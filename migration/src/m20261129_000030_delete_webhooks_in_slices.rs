//! Endpoints that are deleted: nobody sees them any more, and a job removes what is left. They are not active either, so that the
//! code before this step sends them nothing.

crate::sql_migration!(
    "ALTER TABLE webhooks
        ADD deleted_at timestamptz,
        ADD CONSTRAINT webhooks_deleted_at_check CHECK (deleted_at IS NULL OR NOT is_active);
    CREATE INDEX webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;",
    "DELETE FROM webhooks WHERE deleted_at IS NOT NULL;
    ALTER TABLE webhooks DROP deleted_at;"
);

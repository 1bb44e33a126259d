//! The few deleted accounts of which something is left.

crate::index_migration!(
    build: [(
        "users_unpurged",
        "ON users (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL"
    )],
    drop: []
);

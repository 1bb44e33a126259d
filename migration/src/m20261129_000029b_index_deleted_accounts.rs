//! The few deleted accounts of which something is left; and the rows of the ledger that lose what providers said.

crate::index_migration!(
    build: [
        (
            "users_unpurged",
            "ON users (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL"
        ),
        (
            "usage_errors",
            "ON usage (user_id) WHERE error IS NOT NULL"
        ),
    ],
    drop: []
);

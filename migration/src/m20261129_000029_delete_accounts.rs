//! Accounts that were deleted. Their row stays: the ledger and the event that tells of it name its id.

crate::sql_migration!(
    "ALTER TABLE users ADD deleted_at timestamptz, ADD purged_at timestamptz;",
    "ALTER TABLE users DROP purged_at, DROP deleted_at;"
);

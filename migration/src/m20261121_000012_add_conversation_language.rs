//! The language that a conversation is held in, which tells how the files sent to it are read.

crate::sql_migration!(
    "ALTER TABLE conversations ADD COLUMN language text;",
    "ALTER TABLE conversations DROP COLUMN language;"
);

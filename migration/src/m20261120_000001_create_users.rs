//! Accounts and logins.

crate::sql_migration!(
    "CREATE TABLE users (
        id uuid CONSTRAINT users_pkey PRIMARY KEY,
        email text NOT NULL CONSTRAINT users_email_key UNIQUE,
        password_hash text NOT NULL,
        display_name text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    );
    CREATE TABLE sessions (
        id uuid CONSTRAINT sessions_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE CASCADE,
        access_token_hash bytea NOT NULL CONSTRAINT sessions_access_token_hash_key UNIQUE,
        access_expires_at timestamptz NOT NULL,
        refresh_token_hash bytea NOT NULL CONSTRAINT sessions_refresh_token_hash_key UNIQUE,
        refresh_expires_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        revoked_at timestamptz
    );
    CREATE INDEX sessions_user_id ON sessions (user_id);",
    "DROP TABLE sessions; DROP TABLE users;"
);

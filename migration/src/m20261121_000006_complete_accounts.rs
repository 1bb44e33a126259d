//! Accounts whole: what an account is allowed, who uses it from where, spent refresh tokens, and API keys.

crate::sql_migration!(
    "ALTER TABLE users
        ADD avatar_url text,
        ADD role text NOT NULL DEFAULT 'user'
            CONSTRAINT users_role_check CHECK (role IN ('user', 'admin')),
        ADD tier text NOT NULL DEFAULT 'free'
            CONSTRAINT users_tier_check CHECK (tier IN ('free', 'pro', 'enterprise')),
        ADD status text NOT NULL DEFAULT 'active'
            CONSTRAINT users_status_check CHECK (status IN ('active', 'suspended')),
        ADD is_verified boolean NOT NULL DEFAULT false,
        ADD presence_sharing text NOT NULL DEFAULT 'everyone'
            CONSTRAINT users_presence_sharing_check CHECK (presence_sharing IN ('everyone', 'friends', 'nobody')),
        ADD read_receipts_enabled boolean NOT NULL DEFAULT true;
    CREATE INDEX users_role ON users (role);
    CREATE INDEX users_status ON users (status);
    CREATE INDEX users_created_at ON users (created_at);
    CREATE INDEX users_is_verified ON users (is_verified);

    ALTER TABLE sessions
        ADD last_used_at timestamptz,
        ADD ip text,
        ADD user_agent text,
        ADD address_hash bytea;
    DROP INDEX sessions_user_id;
    CREATE INDEX sessions_user_id ON sessions (user_id, created_at, id);
    CREATE INDEX sessions_refresh_expires_at ON sessions (refresh_expires_at);
    CREATE TABLE spent_refresh_tokens (
        token_hash bytea CONSTRAINT spent_refresh_tokens_pkey PRIMARY KEY,
        session_id uuid NOT NULL
            CONSTRAINT spent_refresh_tokens_session_id_fkey REFERENCES sessions ON DELETE CASCADE,
        expires_at timestamptz NOT NULL
    );
    CREATE INDEX spent_refresh_tokens_session_id ON spent_refresh_tokens (session_id);
    CREATE INDEX spent_refresh_tokens_expires_at ON spent_refresh_tokens (expires_at);

    CREATE TABLE api_keys (
        id uuid CONSTRAINT api_keys_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users ON DELETE CASCADE,
        name text NOT NULL,
        key_hash bytea NOT NULL CONSTRAINT api_keys_key_hash_key UNIQUE,
        hint text NOT NULL,
        scopes text[] NOT NULL CONSTRAINT api_keys_scopes_check
            CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'write']),
        expires_at timestamptz,
        last_used_at timestamptz,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX api_keys_user_id ON api_keys (user_id, created_at, id);",
    "DROP TABLE api_keys;
    DROP TABLE spent_refresh_tokens;
    DROP INDEX sessions_refresh_expires_at;
    DROP INDEX sessions_user_id;
    CREATE INDEX sessions_user_id ON sessions (user_id);
    ALTER TABLE sessions DROP last_used_at, DROP ip, DROP user_agent, DROP address_hash;
    ALTER TABLE users DROP avatar_url, DROP role, DROP tier, DROP status, DROP is_verified,
        DROP presence_sharing, DROP read_receipts_enabled;"
);

//! First answers to requests that may be sent again, and versions of what clients change.

crate::sql_migration!(
    "CREATE TABLE idempotency_keys (
        user_id uuid NOT NULL CONSTRAINT idempotency_keys_user_id_fkey REFERENCES users ON DELETE CASCADE,
        key_hash bytea NOT NULL,
        fingerprint bytea NOT NULL,
        status smallint NOT NULL,
        version int,
        body bytea,
        created_at timestamptz NOT NULL,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key_hash)
    );
    CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
    ALTER TABLE users ADD version int NOT NULL DEFAULT 1;
    ALTER TABLE webhooks ADD version int NOT NULL DEFAULT 1;",
    "ALTER TABLE webhooks DROP version;
    ALTER TABLE users DROP version;
    DROP TABLE idempotency_keys;"
);

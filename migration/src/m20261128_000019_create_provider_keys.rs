//! Keys of providers: those that are not taken any more, and those that an operator has set while the programs run.

crate::sql_migration!(
    "CREATE TABLE retired_keys (
        provider text NOT NULL,
        key_id text NOT NULL,
        reason text NOT NULL,
        retired_at timestamptz NOT NULL,
        CONSTRAINT retired_keys_pkey PRIMARY KEY (provider, key_id)
    );
    CREATE TABLE provider_pools (
        provider text CONSTRAINT provider_pools_pkey PRIMARY KEY,
        id uuid NOT NULL,
        sealed_keys bytea NOT NULL,
        updated_at timestamptz NOT NULL
    );",
    "DROP TABLE provider_pools;
    DROP TABLE retired_keys;"
);

//! Endpoints with all their settings, rotated secrets, what was learned of them, and the resending of what they missed.
//!
//! The public half of a signing key is kept beside it, so that showing it needs no key of the deployment. `old_secrets_until`
//! spares each delivery a look at `webhook_old_secrets`. Tries know their endpoint, so that its newest ones are found by an
//! index, which the next step makes; those that were made before are found by their delivery only.

crate::sql_migration!(
    "ALTER TABLE webhooks
        ADD sealed_headers bytea,
        ADD header_names text[] NOT NULL DEFAULT '{}',
        ADD rate_limit_per_minute int
            CONSTRAINT webhooks_rate_limit_per_minute_check CHECK (rate_limit_per_minute BETWEEN 1 AND 60000),
        ADD schedule text NOT NULL DEFAULT 'standard'
            CONSTRAINT webhooks_schedule_check CHECK (schedule IN ('standard', 'short')),
        ADD ordering text NOT NULL DEFAULT 'none'
            CONSTRAINT webhooks_ordering_check CHECK (ordering IN ('none', 'endpoint', 'key')),
        ADD timeout_seconds smallint
            CONSTRAINT webhooks_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 30),
        ADD scope text NOT NULL DEFAULT 'own'
            CONSTRAINT webhooks_scope_check CHECK (scope IN ('own', 'all')),
        ADD secret_id uuid NOT NULL DEFAULT gen_random_uuid(),
        ADD secret_created_at timestamptz,
        ADD signing_key bytea,
        ADD signing_key_id uuid,
        ADD signing_key_created_at timestamptz,
        ADD public_key bytea,
        ADD old_secrets_until timestamptz,
        ADD disabled_at timestamptz,
        ADD CONSTRAINT webhooks_signing_key_check CHECK (num_nulls(signing_key, signing_key_id, public_key) IN (0, 3));
    CREATE INDEX webhooks_scope_all ON webhooks (user_id) WHERE scope = 'all';
    CREATE TABLE webhook_old_secrets (
        id uuid CONSTRAINT webhook_old_secrets_pkey PRIMARY KEY,
        webhook_id uuid NOT NULL CONSTRAINT webhook_old_secrets_webhook_id_fkey REFERENCES webhooks ON DELETE CASCADE,
        kind text NOT NULL CONSTRAINT webhook_old_secrets_kind_check CHECK (kind IN ('v1', 'v1a')),
        secret bytea NOT NULL,
        public_key bytea,
        expires_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX webhook_old_secrets_webhook_id ON webhook_old_secrets (webhook_id);
    CREATE TABLE webhook_states (
        webhook_id uuid CONSTRAINT webhook_states_pkey PRIMARY KEY
            CONSTRAINT webhook_states_webhook_id_fkey REFERENCES webhooks ON DELETE CASCADE,
        failing_since timestamptz,
        failures int NOT NULL DEFAULT 0,
        throttles int NOT NULL DEFAULT 0,
        slowed_until timestamptz,
        last_success_at timestamptz,
        last_failure_at timestamptz
    ) WITH (fillfactor = 50);
    CREATE TABLE webhook_recoveries (
        id uuid CONSTRAINT webhook_recoveries_pkey PRIMARY KEY,
        webhook_id uuid NOT NULL CONSTRAINT webhook_recoveries_webhook_id_fkey REFERENCES webhooks ON DELETE CASCADE,
        since timestamptz NOT NULL,
        until timestamptz NOT NULL,
        status text NOT NULL CONSTRAINT webhook_recoveries_status_check
            CHECK (status IN ('running', 'succeeded', 'cancelled', 'failed')),
        found bigint,
        resent bigint NOT NULL,
        cursor_at timestamptz,
        cursor_id uuid,
        job_id uuid NOT NULL,
        created_at timestamptz NOT NULL,
        finished_at timestamptz
    );
    CREATE INDEX webhook_recoveries_webhook_id ON webhook_recoveries (webhook_id, created_at DESC, id DESC);
    CREATE UNIQUE INDEX webhook_recoveries_running_key ON webhook_recoveries (webhook_id) WHERE status = 'running';
    ALTER TABLE deliveries ADD is_test boolean NOT NULL DEFAULT false;
    ALTER TABLE delivery_attempts ADD webhook_id uuid, ADD error_code text, ADD details jsonb;
    ALTER TABLE events ADD subject text;",
    "ALTER TABLE events DROP subject;
    ALTER TABLE delivery_attempts DROP details, DROP error_code, DROP webhook_id;
    ALTER TABLE deliveries DROP is_test;
    DROP TABLE webhook_recoveries;
    DROP TABLE webhook_states;
    DROP TABLE webhook_old_secrets;
    DROP INDEX webhooks_scope_all;
    ALTER TABLE webhooks
        DROP CONSTRAINT webhooks_signing_key_check,
        DROP disabled_at, DROP old_secrets_until, DROP public_key, DROP signing_key_created_at, DROP signing_key_id,
        DROP signing_key, DROP secret_created_at, DROP secret_id, DROP scope, DROP timeout_seconds, DROP ordering,
        DROP schedule, DROP rate_limit_per_minute, DROP header_names, DROP sealed_headers;"
);

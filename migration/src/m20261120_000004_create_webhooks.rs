//! Endpoints, events, deliveries and each try.

crate::sql_migration!(
    "CREATE TABLE webhooks (
        id uuid CONSTRAINT webhooks_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT webhooks_user_id_fkey REFERENCES users ON DELETE CASCADE,
        url text NOT NULL,
        events text[] NOT NULL,
        description text,
        secret bytea NOT NULL,
        is_active boolean NOT NULL,
        disabled_reason text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    );
    CREATE INDEX webhooks_user_id ON webhooks (user_id, is_active);
    CREATE TABLE events (
        id uuid CONSTRAINT events_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT events_user_id_fkey REFERENCES users ON DELETE CASCADE,
        kind text NOT NULL,
        data jsonb NOT NULL,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX events_user_id ON events (user_id, created_at);
    CREATE TABLE deliveries (
        id uuid CONSTRAINT deliveries_pkey PRIMARY KEY,
        webhook_id uuid NOT NULL CONSTRAINT deliveries_webhook_id_fkey REFERENCES webhooks ON DELETE CASCADE,
        event_id uuid NOT NULL CONSTRAINT deliveries_event_id_fkey REFERENCES events ON DELETE CASCADE,
        status text NOT NULL CONSTRAINT deliveries_status_check
            CHECK (status IN ('pending', 'succeeded', 'failed', 'cancelled')),
        error text,
        created_at timestamptz NOT NULL,
        finished_at timestamptz
    );
    CREATE INDEX deliveries_webhook_id ON deliveries (webhook_id, created_at DESC, id DESC);
    CREATE INDEX deliveries_event_id ON deliveries (event_id);
    CREATE TABLE delivery_attempts (
        id uuid CONSTRAINT delivery_attempts_pkey PRIMARY KEY,
        delivery_id uuid NOT NULL CONSTRAINT delivery_attempts_delivery_id_fkey REFERENCES deliveries ON DELETE CASCADE,
        attempt int NOT NULL,
        status_code smallint NOT NULL,
        error text,
        response_body text,
        duration_ms int NOT NULL,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX delivery_attempts_delivery_id ON delivery_attempts (delivery_id, created_at);",
    "DROP TABLE delivery_attempts; DROP TABLE deliveries; DROP TABLE events; DROP TABLE webhooks;"
);

//! The ledger: what was asked of providers, and what it cost.

crate::sql_migration!(
    "CREATE TABLE usage (
        id uuid CONSTRAINT usage_pkey PRIMARY KEY,
        user_id uuid,
        project_id uuid,
        conversation_id uuid,
        message_id uuid,
        attachment_id uuid,
        kind text NOT NULL CONSTRAINT usage_kind_check CHECK (kind IN ('chat', 'transcription')),
        attempt int NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        provider_model text NOT NULL,
        key_group text NOT NULL,
        outcome text NOT NULL CONSTRAINT usage_outcome_check
            CHECK (outcome IN ('completed', 'cancelled', 'interrupted', 'failed')),
        error text,
        input_tokens bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL,
        reasoning_tokens bigint NOT NULL,
        audio_ms bigint,
        is_estimated boolean NOT NULL,
        price_version text,
        cost_microusd bigint CONSTRAINT usage_cost_check CHECK (cost_microusd >= 0),
        latency_ms int NOT NULL,
        first_token_ms int,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX usage_user_id ON usage (user_id, created_at);
    CREATE INDEX usage_conversation_id ON usage (conversation_id) WHERE conversation_id IS NOT NULL;",
    "DROP TABLE usage;"
);

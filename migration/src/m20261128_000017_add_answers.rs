//! Answers of models: how far they have come, who gives them, and those that are being made.

crate::sql_migration!(
    "ALTER TABLE messages
        ADD status text NOT NULL DEFAULT 'completed' CONSTRAINT messages_status_check
            CHECK (status IN ('streaming', 'completed', 'interrupted', 'failed', 'cancelled')),
        ADD model text,
        ADD provider text,
        ADD finish_reason text,
        ADD error jsonb,
        ADD rating text CONSTRAINT messages_rating_check CHECK (rating IN ('up', 'down')),
        ADD rating_reason text,
        ADD figures jsonb;
    -- A client may send the first message of a conversation again before it knows the conversation's id.
    CREATE INDEX messages_user_id_client_id ON messages (user_id, client_id) WHERE client_id IS NOT NULL;

    -- Few rows, which live for seconds. Their text is not in messages until the end: what is there is indexed at each
    -- change. Nothing refers to them, so that an answer whose conversation is deleted meanwhile is still accounted for.
    CREATE TABLE generations (
        message_id uuid CONSTRAINT generations_pkey PRIMARY KEY,
        id uuid NOT NULL CONSTRAINT generations_id_key UNIQUE,
        conversation_id uuid NOT NULL,
        user_id uuid NOT NULL,
        instance uuid NOT NULL,
        lease_until timestamptz NOT NULL,
        cancel_requested_at timestamptz,
        text text NOT NULL,
        begun_bytes int NOT NULL,
        attempts jsonb NOT NULL,
        started_at timestamptz NOT NULL
    );",
    "DROP TABLE generations;
    DROP INDEX messages_user_id_client_id;
    ALTER TABLE messages DROP status, DROP model, DROP provider, DROP finish_reason, DROP error, DROP rating,
        DROP rating_reason, DROP figures;"
);

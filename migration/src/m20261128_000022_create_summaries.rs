//! What goes along with a question: summaries of what was said before, limits of a conversation's own, and a number by which
//! what is cached of it is known to be out of date. And whether a title is the user's.

crate::sql_migration!(
    "CREATE TABLE summaries (
        conversation_id uuid NOT NULL
            CONSTRAINT summaries_conversation_id_fkey REFERENCES conversations ON DELETE CASCADE,
        anchor_id uuid NOT NULL,
        text text NOT NULL,
        token_count int NOT NULL,
        message_count bigint NOT NULL,
        model text NOT NULL,
        made_at timestamptz NOT NULL,
        CONSTRAINT summaries_pkey PRIMARY KEY (conversation_id, anchor_id)
    );

    -- A table of its own, without a foreign key: it is written last in transactions that hold a job or an attachment, and
    -- those must not wait for the conversation's row.
    CREATE TABLE context_stamps (
        conversation_id uuid CONSTRAINT context_stamps_pkey PRIMARY KEY,
        stamp bigint NOT NULL
    );

    ALTER TABLE conversations
        ADD context_max_tokens int,
        ADD context_max_messages int,
        ADD title_by_user boolean NOT NULL DEFAULT false;

    -- Rows that are there are of the kinds of before, so they need not be read.
    ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check
        CHECK (kind IN ('chat', 'transcription', 'summary', 'title')) NOT VALID;",
    "ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check CHECK (kind IN ('chat', 'transcription')) NOT VALID;
    ALTER TABLE conversations DROP context_max_tokens, DROP context_max_messages, DROP title_by_user;
    DROP TABLE context_stamps;
    DROP TABLE summaries;"
);

//! What goes along with a question: summaries of what was said before, limits of a conversation's own, and a number by which
//! what is cached of it is known to be out of date. Jobs that came to nothing and are not asked for again at once. And whether
//! a title is the user's.

crate::sql_migration!(
    "-- First, as requests take it before the messages.
    ALTER TABLE conversations
        ADD context_max_tokens int,
        ADD context_max_messages int,
        ADD title_by_user boolean NOT NULL DEFAULT false;

    CREATE TABLE summaries (
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
    -- those must not wait for the conversation's row. Any number, and not the next one: a database that lost its last
    -- changes must not come to the same number by other ones.
    CREATE TABLE context_stamps (
        conversation_id uuid CONSTRAINT context_stamps_pkey PRIMARY KEY,
        stamp bigint NOT NULL DEFAULT hashtextextended(gen_random_uuid()::text, 0)
    );

    -- Those that tell of a message: those that end with it or with a message below it.
    CREATE FUNCTION forget_summaries(of_conversation uuid, of_message uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        -- Most conversations have none, and their messages are not looked at.
        IF EXISTS (SELECT FROM summaries WHERE conversation_id = of_conversation) THEN
            WITH RECURSIVE below AS (
                SELECT id FROM messages WHERE conversation_id = of_conversation AND id = of_message
                 UNION ALL
                SELECT m.id FROM below b JOIN messages m ON m.conversation_id = of_conversation AND m.parent_id = b.id
            )
            DELETE FROM summaries WHERE conversation_id = of_conversation AND anchor_id IN (SELECT id FROM below);
        END IF;
        INSERT INTO context_stamps (conversation_id) VALUES (of_conversation)
        ON CONFLICT (conversation_id) DO UPDATE SET stamp = excluded.stamp;
    END
    $$;
    CREATE FUNCTION forget_message() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM forget_summaries(NEW.conversation_id, NEW.id);
        RETURN NULL;
    END
    $$;
    -- A trigger, as programs that know of no summaries may still serve. At the end, where the stamp is written.
    CREATE CONSTRAINT TRIGGER messages_deleted AFTER UPDATE OF deleted_at ON messages
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION forget_message();

    -- Likewise an answer that is gone on with, which is another one then, and an attachment whose text may be kept.
    CREATE CONSTRAINT TRIGGER messages_gone_on_with AFTER UPDATE OF status ON messages
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.status <> 'streaming' AND NEW.status = 'streaming') EXECUTE FUNCTION forget_message();
    CREATE FUNCTION forget_attachment() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO context_stamps (conversation_id)
        SELECT id FROM conversations WHERE id = OLD.conversation_id
        ON CONFLICT (conversation_id) DO UPDATE SET stamp = excluded.stamp;
        RETURN NULL;
    END
    $$;
    CREATE CONSTRAINT TRIGGER attachments_deleted AFTER DELETE ON attachments
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.conversation_id IS NOT NULL) EXECUTE FUNCTION forget_attachment();

    CREATE TABLE job_rests (
        unique_key text CONSTRAINT job_rests_pkey PRIMARY KEY,
        until timestamptz NOT NULL
    );

    -- Rows that are there are of the kinds of before, so they need not be read.
    ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check
        CHECK (kind IN ('chat', 'transcription', 'summary', 'title')) NOT VALID;",
    "ALTER TABLE conversations DROP context_max_tokens, DROP context_max_messages, DROP title_by_user;
    DROP TABLE job_rests;
    DROP TRIGGER messages_deleted ON messages;
    DROP TRIGGER messages_gone_on_with ON messages;
    DROP TRIGGER attachments_deleted ON attachments;
    DROP FUNCTION forget_message();
    DROP FUNCTION forget_attachment();
    DROP FUNCTION forget_summaries(uuid, uuid);
    DROP TABLE context_stamps;
    DROP TABLE summaries;
    ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check CHECK (kind IN ('chat', 'transcription')) NOT VALID;"
);

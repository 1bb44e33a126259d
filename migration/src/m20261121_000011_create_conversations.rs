//! Projects, conversations and their messages, with the search over both.

crate::sql_migration!(
    "CREATE TABLE projects (
        id uuid CONSTRAINT projects_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT projects_user_id_fkey REFERENCES users ON DELETE CASCADE,
        name text NOT NULL,
        description text,
        instructions text,
        version int NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    );
    CREATE INDEX projects_user_id ON projects (user_id, created_at DESC, id DESC);

    -- What is found: words as they are written, and English ones by their stems too. A tsvector holds 1 MiB at most,
    -- which 200,000 characters of four bytes can exceed; then less is indexed, as no message may be refused for it.
    -- The parser would take <word> for a tag and a/b for a path, and lose the words in them.
    CREATE FUNCTION search_words(body text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        characters int := 200000;
        words text;
    BEGIN
        LOOP
            BEGIN
                words := translate(left(body, characters), '<>/\\@|', '      ');
                RETURN to_tsvector('pg_catalog.english', words) || to_tsvector('pg_catalog.simple', words);
            EXCEPTION WHEN program_limit_exceeded THEN
                characters := characters / 2;
            END;
        END LOOP;
    END
    $$;
    CREATE FUNCTION message_text(content jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT coalesce(string_agg(part ->> 'text', E'\\n' ORDER BY position), '')
          FROM jsonb_array_elements(content) WITH ORDINALITY parts(part, position)
    $$;

    CREATE TABLE conversations (
        id uuid CONSTRAINT conversations_pkey PRIMARY KEY,
        user_id uuid NOT NULL CONSTRAINT conversations_user_id_fkey REFERENCES users ON DELETE CASCADE,
        project_id uuid CONSTRAINT conversations_project_id_fkey REFERENCES projects ON DELETE SET NULL,
        title text,
        system_prompt text,
        model text,
        tags text[] NOT NULL,
        pinned_at timestamptz,
        archived_at timestamptz,
        current_message_id uuid,
        last_message_id uuid,
        last_message_at timestamptz,
        message_count bigint NOT NULL,
        token_count bigint NOT NULL,
        deleted_at timestamptz,
        version int NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        search tsvector NOT NULL GENERATED ALWAYS AS (search_words(coalesce(title, ''))) STORED
    );
    CREATE INDEX conversations_user_id ON conversations
        (user_id, (coalesce(last_message_at, created_at)) DESC, id DESC) WHERE deleted_at IS NULL;
    CREATE INDEX conversations_user_id_archived ON conversations
        (user_id, (coalesce(last_message_at, created_at)) DESC, id DESC)
        WHERE deleted_at IS NULL AND archived_at IS NOT NULL;
    CREATE INDEX conversations_user_id_pinned ON conversations
        (user_id, (coalesce(last_message_at, created_at)) DESC, id DESC)
        WHERE deleted_at IS NULL AND pinned_at IS NOT NULL;
    CREATE INDEX conversations_project_id ON conversations
        (project_id, (coalesce(last_message_at, created_at)) DESC, id DESC);
    CREATE INDEX conversations_search ON conversations USING gin (search);

    CREATE TABLE messages (
        id uuid CONSTRAINT messages_pkey PRIMARY KEY,
        conversation_id uuid NOT NULL
            CONSTRAINT messages_conversation_id_fkey REFERENCES conversations ON DELETE CASCADE,
        user_id uuid NOT NULL,
        parent_id uuid,
        role text NOT NULL CONSTRAINT messages_role_check CHECK (role IN ('system', 'user', 'assistant', 'tool')),
        content jsonb NOT NULL,
        size_bytes int NOT NULL,
        client_id text,
        token_count int NOT NULL,
        deleted_at timestamptz,
        is_gone boolean NOT NULL,
        version int NOT NULL,
        created_at timestamptz NOT NULL,
        search tsvector NOT NULL GENERATED ALWAYS AS (search_words(message_text(content))) STORED
    );
    CREATE INDEX messages_conversation_id ON messages (conversation_id, created_at DESC, id DESC);
    CREATE INDEX messages_conversation_id_role ON messages (conversation_id, role);
    CREATE INDEX messages_parent_id ON messages (conversation_id, parent_id, created_at, id);
    CREATE INDEX messages_user_id ON messages (user_id, created_at DESC, id DESC);
    CREATE UNIQUE INDEX messages_client_id_key ON messages (conversation_id, client_id) WHERE client_id IS NOT NULL;
    CREATE INDEX messages_search ON messages USING gin (search);",
    "DROP TABLE messages;
    DROP TABLE conversations;
    DROP FUNCTION message_text;
    DROP FUNCTION search_words;
    DROP TABLE projects;"
);

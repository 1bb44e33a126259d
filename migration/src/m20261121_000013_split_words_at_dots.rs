//! The search finds the parts of words with dots, as of `node.js` and `example.com`. And deleted conversations that are
//! still there are found quickly.

/// The function that indexes texts, taking these characters for spaces, and the index anew: the columns are generated
/// when they are added.
macro_rules! search_words {
    ($separators:literal, $spaces:literal) => {
        concat!(
            "CREATE OR REPLACE FUNCTION search_words(body text) RETURNS tsvector
                LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                characters int := 200000;
                words text;
            BEGIN
                LOOP
                    BEGIN
                        words := translate(left(body, characters), '",
            $separators,
            "', '",
            $spaces,
            "');
                        RETURN to_tsvector('pg_catalog.english', words) || to_tsvector('pg_catalog.simple', words);
                    EXCEPTION WHEN program_limit_exceeded THEN
                        characters := characters / 2;
                    END;
                END LOOP;
            END
            $$;
            ALTER TABLE conversations DROP COLUMN search;
            ALTER TABLE conversations ADD COLUMN search tsvector NOT NULL
                GENERATED ALWAYS AS (search_words(coalesce(title, ''))) STORED;
            CREATE INDEX conversations_search ON conversations USING gin (search);
            ALTER TABLE messages DROP COLUMN search;
            ALTER TABLE messages ADD COLUMN search tsvector NOT NULL
                GENERATED ALWAYS AS (search_words(message_text(content))) STORED;
            CREATE INDEX messages_search ON messages USING gin (search);"
        )
    };
}

crate::sql_migration!(
    concat!(
        search_words!("<>/\\@|.", "       "),
        // How rare a rare word is decides whether it is looked up or walked to: with the usual 100, a word that nobody has
        // said was taken for one in 500, and 500,000 messages were read for it.
        "ALTER TABLE conversations ALTER COLUMN search SET STATISTICS 1000;
        ALTER TABLE messages ALTER COLUMN search SET STATISTICS 1000;
        CREATE INDEX conversations_deleted_at ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;"
    ),
    concat!(
        "DROP INDEX conversations_deleted_at;",
        search_words!("<>/\\@|", "      ")
    )
);

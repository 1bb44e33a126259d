//! Messages are indexed in half the time: a function in SQL is parsed and planned anew by each statement that uses it, and a
//! block that catches errors begins a transaction of its own.

crate::sql_migration!(
    "CREATE OR REPLACE FUNCTION message_text(content jsonb) RETURNS text
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        -- Most messages have one part, and answers that are begun none.
        CASE jsonb_array_length(content)
            WHEN 0 THEN RETURN '';
            WHEN 1 THEN RETURN coalesce(content -> 0 ->> 'text', '');
            ELSE RETURN (
                SELECT coalesce(string_agg(part ->> 'text', E'\\n' ORDER BY position), '')
                  FROM jsonb_array_elements(content) WITH ORDINALITY parts(part, position));
        END CASE;
    END
    $$;
    CREATE OR REPLACE FUNCTION search_words(body text) RETURNS tsvector
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        characters int := 200000;
        words text;
    BEGIN
        -- So few bytes never exceed the size of a tsvector.
        IF octet_length(body) <= 65536 THEN
            words := translate(body, '<>/\\@|.', '       ');
            RETURN to_tsvector('pg_catalog.english', words) || to_tsvector('pg_catalog.simple', words);
        END IF;
        LOOP
            BEGIN
                words := translate(left(body, characters), '<>/\\@|.', '       ');
                RETURN to_tsvector('pg_catalog.english', words) || to_tsvector('pg_catalog.simple', words);
            EXCEPTION WHEN program_limit_exceeded THEN
                characters := characters / 2;
            END;
        END LOOP;
    END
    $$;",
    "CREATE OR REPLACE FUNCTION search_words(body text) RETURNS tsvector
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        characters int := 200000;
        words text;
    BEGIN
        LOOP
            BEGIN
                words := translate(left(body, characters), '<>/\\@|.', '       ');
                RETURN to_tsvector('pg_catalog.english', words) || to_tsvector('pg_catalog.simple', words);
            EXCEPTION WHEN program_limit_exceeded THEN
                characters := characters / 2;
            END;
        END LOOP;
    END
    $$;
    CREATE OR REPLACE FUNCTION message_text(content jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT coalesce(string_agg(part ->> 'text', E'\\n' ORDER BY position), '')
          FROM jsonb_array_elements(content) WITH ORDINALITY parts(part, position)
    $$;"
);

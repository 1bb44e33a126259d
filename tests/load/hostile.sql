-- Conversations of one message each that was written to do harm: what a library may take too much time or memory for.
-- Prints their ids and names.
WITH texts(name, text) AS (VALUES
    ('one word of 5 MB', repeat('a', 5000000)),
    ('5 MB of words', repeat('lorem ipsum dolor ', 290000)),
    ('5 MB of Hindi', repeat('हिन्दी में एक वाक्य है। ', 80000)),
    ('5 MB of Urdu', repeat('یہ اردو کا ایک جملہ ہے۔ ', 120000)),
    ('1 MB of emoji', repeat('👨‍👩‍👧‍👦🎉🇮🇳', 25000)),
    ('300,000 marks on a letter', 'a' || repeat(U&'\0301', 300000)),
    ('emphasis never closed', repeat('*a **b ', 700000)),
    ('50,000 quotes in quotes', repeat('>', 50000) || ' deep'),
    ('lists in lists', (SELECT string_agg(repeat('  ', depth) || '- x', E'\n') FROM generate_series(0, 1000) depth)),
    ('5,000 rows of 50 cells', repeat('|h', 50) || E'\n' || repeat('|-', 50) || E'\n' || repeat(repeat('|cell', 50) || E'\n', 5000)),
    ('90,000 lines of Rust', E'```rust\n' || repeat(E'let x = vec![1, 2, 3]; // comment\n', 90000) || '```'),
    ('90,000 lines of code', E'```\n' || repeat(E'let x = vec![1, 2, 3]; // comment\n', 90000) || '```'),
    ('a line of 990 KB of Rust', E'```rust\n' || repeat('x = 1;', 165000) || E'\n```'),
    ('50,000 links', repeat('[a](https://example.com/) ', 50000)),
    ('100,000 headings', repeat(E'# h\n\n', 100000)),
    ('500,000 paragraphs', repeat(E'a\n\n', 500000)),
    ('300,000 items', repeat(E'- a\n', 300000)),
    ('brackets never closed', repeat('[a](', 200000)),
    ('50,000 scripts', repeat('<script>alert(1)</script><div>', 50000))
), talks AS (
    INSERT INTO conversations (id, user_id, title, tags, message_count, token_count, version, created_at, updated_at)
    SELECT gen_random_uuid(), users.id, name, '{}', 1, 1, 1, now(), now() FROM texts, users
    RETURNING id, user_id, title
), messages AS (
    INSERT INTO messages (id, conversation_id, user_id, role, content, size_bytes, token_count, is_gone, version, created_at)
    SELECT gen_random_uuid(), id, user_id, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text', text)),
           octet_length(text), 1, false, 1, now()
      FROM talks JOIN texts ON name = title
)
SELECT id, title FROM talks;

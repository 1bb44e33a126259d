//! What each user has used in each month of UTC, and of which limits they were told.
//!
//! The database counts, so that no row of the ledger is left out, whoever writes it: also programs of before, and rows that
//! are replaced. A month of a user is begun from all its rows when the first of them is counted. Statements count what they
//! write by user and month in this order, so that two of them never wait for each other. Sums stay so far below what the
//! columns hold that something can be added to them.

crate::sql_migration!(
    "CREATE TABLE usage_months (
        user_id uuid,
        month date,
        tokens bigint NOT NULL,
        cost_microusd bigint NOT NULL,
        near_tokens_limit bigint,
        reached_tokens_limit bigint,
        near_cost_limit bigint,
        reached_cost_limit bigint,
        CONSTRAINT usage_months_pkey PRIMARY KEY (user_id, month)
    ) WITH (fillfactor = 50);

    CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        most CONSTANT numeric := 1000000000000000000;
        users uuid[];
        times timestamptz[];
        tokens_more numeric[];
        cost_more numeric[];
        change record;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT array_agg(a.user_id), array_agg(a.created_at), array_agg(a.input_tokens::numeric + a.output_tokens),
                   array_agg(coalesce(a.cost_microusd, 0)::numeric)
              INTO users, times, tokens_more, cost_more
              FROM added a;
        ELSIF TG_OP = 'DELETE' THEN
            SELECT array_agg(r.user_id), array_agg(r.created_at), array_agg(-r.input_tokens::numeric - r.output_tokens),
                   array_agg(-coalesce(r.cost_microusd, 0)::numeric)
              INTO users, times, tokens_more, cost_more
              FROM removed r;
        ELSE
            SELECT array_agg(c.user_id), array_agg(c.created_at), array_agg(c.tokens), array_agg(c.cost)
              INTO users, times, tokens_more, cost_more
              FROM (
                  SELECT a.user_id, a.created_at, a.input_tokens::numeric + a.output_tokens AS tokens,
                         coalesce(a.cost_microusd, 0)::numeric AS cost
                    FROM added a
                   UNION ALL
                  SELECT r.user_id, r.created_at, -r.input_tokens::numeric - r.output_tokens,
                         -coalesce(r.cost_microusd, 0)::numeric
                    FROM removed r
              ) c;
        END IF;
        FOR change IN
            SELECT c.user_id, date_trunc('month', c.asked_at AT TIME ZONE 'UTC')::date AS month, sum(c.tokens) AS tokens,
                   sum(c.cost) AS cost
              FROM unnest(users, times, tokens_more, cost_more) AS c(user_id, asked_at, tokens, cost)
             WHERE c.user_id IS NOT NULL
             GROUP BY 1, 2 HAVING sum(c.tokens) <> 0 OR sum(c.cost) <> 0
             ORDER BY 1, 2
        LOOP
            UPDATE usage_months m
               SET tokens = greatest(0, least(most, m.tokens + change.tokens)),
                   cost_microusd = greatest(0, least(most, m.cost_microusd + change.cost))
             WHERE m.user_id = change.user_id AND m.month = change.month;
            IF NOT FOUND THEN
                -- Where another has begun it meanwhile, it has not seen what changes here.
                INSERT INTO usage_months AS m (user_id, month, tokens, cost_microusd)
                SELECT change.user_id, change.month,
                       least(most, coalesce(sum(u.input_tokens::numeric + u.output_tokens), 0)),
                       least(most, coalesce(sum(u.cost_microusd), 0))
                  FROM usage u
                 WHERE u.user_id = change.user_id
                   AND u.created_at >= change.month::timestamp AT TIME ZONE 'UTC'
                   AND u.created_at < (change.month + interval '1 month') AT TIME ZONE 'UTC'
                ON CONFLICT (user_id, month) DO UPDATE
                   SET tokens = greatest(0, least(most, m.tokens + change.tokens)),
                       cost_microusd = greatest(0, least(most, m.cost_microusd + change.cost));
            END IF;
        END LOOP;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER usage_added AFTER INSERT ON usage
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_usage();
    CREATE TRIGGER usage_changed AFTER UPDATE ON usage
        REFERENCING NEW TABLE AS added OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_usage();
    CREATE TRIGGER usage_removed AFTER DELETE ON usage
        REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_usage();",
    "DROP TRIGGER usage_added ON usage;
    DROP TRIGGER usage_changed ON usage;
    DROP TRIGGER usage_removed ON usage;
    DROP FUNCTION count_usage();
    DROP TABLE usage_months;"
);

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

    -- What the ledger says of a month of a user.
    CREATE FUNCTION usage_of_month(of_user uuid, of_month date) RETURNS TABLE (tokens bigint, cost_microusd bigint)
    LANGUAGE sql STABLE AS $$
        SELECT least(1000000000000000000, coalesce(sum(u.input_tokens) + sum(u.output_tokens), 0))::bigint,
               least(1000000000000000000, coalesce(sum(u.cost_microusd), 0))::bigint
          FROM usage u
         WHERE u.user_id = of_user
           AND u.created_at >= of_month::timestamp AT TIME ZONE 'UTC'
           AND u.created_at < (of_month + interval '1 month') AT TIME ZONE 'UTC'
    $$;

    CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        most CONSTANT numeric := 1000000000000000000;
        changes refcursor;
        change record;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            OPEN changes FOR
            SELECT a.user_id, date_trunc('month', a.created_at AT TIME ZONE 'UTC')::date AS month,
                   sum(a.input_tokens) + sum(a.output_tokens) AS tokens, coalesce(sum(a.cost_microusd), 0) AS cost
              FROM added a WHERE a.user_id IS NOT NULL
             GROUP BY 1, 2 ORDER BY 1, 2;
        ELSIF TG_OP = 'DELETE' THEN
            OPEN changes FOR
            SELECT r.user_id, date_trunc('month', r.created_at AT TIME ZONE 'UTC')::date AS month,
                   -(sum(r.input_tokens) + sum(r.output_tokens)) AS tokens, -coalesce(sum(r.cost_microusd), 0) AS cost
              FROM removed r WHERE r.user_id IS NOT NULL
             GROUP BY 1, 2 ORDER BY 1, 2;
        ELSE
            OPEN changes FOR
            SELECT c.user_id, date_trunc('month', c.created_at AT TIME ZONE 'UTC')::date AS month,
                   sum(c.tokens) AS tokens, sum(c.cost) AS cost
              FROM (
                  SELECT a.user_id, a.created_at, a.input_tokens::numeric + a.output_tokens AS tokens,
                         coalesce(a.cost_microusd, 0)::numeric AS cost
                    FROM added a
                   UNION ALL
                  SELECT r.user_id, r.created_at, -r.input_tokens::numeric - r.output_tokens,
                         -coalesce(r.cost_microusd, 0)::numeric
                    FROM removed r
              ) c
             WHERE c.user_id IS NOT NULL
             GROUP BY 1, 2 ORDER BY 1, 2;
        END IF;
        LOOP
            FETCH changes INTO change;
            EXIT WHEN NOT FOUND;
            CONTINUE WHEN change.tokens = 0 AND change.cost = 0;
            UPDATE usage_months m
               SET tokens = greatest(0, least(most, m.tokens + change.tokens)),
                   cost_microusd = greatest(0, least(most, m.cost_microusd + change.cost))
             WHERE m.user_id = change.user_id AND m.month = change.month;
            IF NOT FOUND THEN
                -- Where another has begun it meanwhile, it has not seen what changes here.
                INSERT INTO usage_months AS m (user_id, month, tokens, cost_microusd)
                SELECT change.user_id, change.month, u.tokens, u.cost_microusd
                  FROM usage_of_month(change.user_id, change.month) u
                ON CONFLICT (user_id, month) DO UPDATE
                   SET tokens = greatest(0, least(most, m.tokens + change.tokens)),
                       cost_microusd = greatest(0, least(most, m.cost_microusd + change.cost));
            END IF;
        END LOOP;
        CLOSE changes;
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
    DROP FUNCTION usage_of_month(uuid, date);
    DROP TABLE usage_months;"
);

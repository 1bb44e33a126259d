//! What is learned of models whose tokens are not known: sums over their latest answers.

crate::sql_migration!(
    "CREATE TABLE token_factors (
        provider text NOT NULL,
        model text NOT NULL,
        encoding text NOT NULL,
        samples bigint NOT NULL,
        estimated double precision NOT NULL,
        reported double precision NOT NULL,
        squares double precision NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT token_factors_pkey PRIMARY KEY (provider, model, encoding)
    );",
    "DROP TABLE token_factors;"
);

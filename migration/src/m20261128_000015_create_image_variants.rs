//! What a picture is, and what is made of it.
//!
//! No deletion cascades to variants: with their rows would go what says which objects are to be removed.

crate::sql_migration!(
    "CREATE TABLE images (
        attachment_id uuid CONSTRAINT images_pkey PRIMARY KEY
            CONSTRAINT images_attachment_id_fkey REFERENCES attachments ON DELETE CASCADE,
        job_id uuid NOT NULL,
        status text NOT NULL CONSTRAINT images_status_check
            CHECK (status IN ('processing', 'succeeded', 'failed', 'cancelled')),
        width int,
        height int,
        frame_count int,
        dominant_color text,
        blur_hash text,
        error text,
        created_at timestamptz NOT NULL,
        finished_at timestamptz
    );
    CREATE TABLE image_variants (
        id uuid CONSTRAINT image_variants_pkey PRIMARY KEY,
        attachment_id uuid NOT NULL CONSTRAINT image_variants_attachment_id_fkey REFERENCES attachments,
        name text,
        recipe jsonb,
        fingerprint bytea NOT NULL,
        job_id uuid NOT NULL,
        status text NOT NULL CONSTRAINT image_variants_status_check
            CHECK (status IN ('processing', 'succeeded', 'failed', 'cancelled')),
        storage_key text COLLATE \"C\" CONSTRAINT image_variants_storage_key_key UNIQUE,
        media_type text,
        width int,
        height int,
        size_bytes bigint,
        sha256 bytea,
        error text,
        created_at timestamptz NOT NULL,
        finished_at timestamptz,
        CONSTRAINT image_variants_fingerprint_key UNIQUE (attachment_id, fingerprint)
    );",
    "DROP TABLE image_variants; DROP TABLE images;"
);

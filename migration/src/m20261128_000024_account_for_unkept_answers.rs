//! Answers that nobody keeps are noted while they are made, so that they are accounted for, too; and vectors are asked for.

crate::sql_migration!(
    "ALTER TABLE generations
        ALTER conversation_id DROP NOT NULL,
        ADD kind text NOT NULL DEFAULT 'chat' CONSTRAINT generations_kind_check CHECK (kind IN ('chat', 'embedding'));

    -- A request has no job.
    ALTER TABLE calls ALTER job_id DROP NOT NULL;

    -- Rows that are there are of the kinds of before, so they need not be read.
    ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check
        CHECK (kind IN ('chat', 'transcription', 'summary', 'title', 'embedding')) NOT VALID;",
    "ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
    ALTER TABLE usage ADD CONSTRAINT usage_kind_check
        CHECK (kind IN ('chat', 'transcription', 'summary', 'title')) NOT VALID;
    DELETE FROM calls WHERE job_id IS NULL;
    ALTER TABLE calls ALTER job_id SET NOT NULL;
    DELETE FROM generations WHERE conversation_id IS NULL;
    ALTER TABLE generations ALTER conversation_id SET NOT NULL, DROP kind;"
);

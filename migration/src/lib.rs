//! The schema, step by step. Each step runs while the code of the step before still serves.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait of sea-orm-migration elides them"
)]

use sea_orm_migration::prelude::*;

mod m20261120_000001_create_users;
mod m20261120_000002_create_jobs;
mod m20261120_000003_create_attachments;
mod m20261120_000004_create_webhooks;
mod m20261121_000005_create_idempotency_keys;
mod m20261121_000006_complete_accounts;
mod m20261121_000007_add_documents_and_audio;
mod m20261121_000008_create_pending_objects;
mod m20261121_000009_create_notifications;
mod m20261121_000010_create_queue_figures;
mod m20261121_000011_create_conversations;
mod m20261121_000012_add_conversation_language;
mod m20261121_000013_split_words_at_dots;
mod m20261128_000014_create_transcriptions;
mod m20261128_000015_create_image_variants;
mod m20261128_000016_create_exports;
mod m20261128_000017_add_answers;
mod m20261128_000018_create_usage;
mod m20261128_000019_create_provider_keys;
mod m20261128_000020_index_words_faster;
mod m20261128_000021_create_token_factors;
mod m20261128_000022_create_summaries;
mod m20261128_000023_create_calls;
mod m20261128_000024_account_for_unkept_answers;
mod m20261129_000025_bound_job_groups;
mod m20261129_000026_complete_webhooks;
mod m20261129_000027_index_attempts;
mod m20261129_000028_create_usage_months;
mod m20261129_000029_delete_accounts;
mod m20261129_000029b_index_deleted_accounts;
mod m20261129_000030_delete_webhooks_in_slices;
mod m20261129_000030b_index_subjects;

/// All steps, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_000001_create_users::Migration),
            Box::new(m20261120_000002_create_jobs::Migration),
            Box::new(m20261120_000003_create_attachments::Migration),
            Box::new(m20261120_000004_create_webhooks::Migration),
            Box::new(m20261121_000005_create_idempotency_keys::Migration),
            Box::new(m20261121_000006_complete_accounts::Migration),
            Box::new(m20261121_000007_add_documents_and_audio::Migration),
            Box::new(m20261121_000008_create_pending_objects::Migration),
            Box::new(m20261121_000009_create_notifications::Migration),
            Box::new(m20261121_000010_create_queue_figures::Migration),
            Box::new(m20261121_000011_create_conversations::Migration),
            Box::new(m20261121_000012_add_conversation_language::Migration),
            Box::new(m20261121_000013_split_words_at_dots::Migration),
            Box::new(m20261128_000014_create_transcriptions::Migration),
            Box::new(m20261128_000015_create_image_variants::Migration),
            Box::new(m20261128_000016_create_exports::Migration),
            Box::new(m20261128_000017_add_answers::Migration),
            Box::new(m20261128_000018_create_usage::Migration),
            Box::new(m20261128_000019_create_provider_keys::Migration),
            Box::new(m20261128_000020_index_words_faster::Migration),
            Box::new(m20261128_000021_create_token_factors::Migration),
            Box::new(m20261128_000022_create_summaries::Migration),
            Box::new(m20261128_000023_create_calls::Migration),
            Box::new(m20261128_000024_account_for_unkept_answers::Migration),
            Box::new(m20261129_000025_bound_job_groups::Migration),
            Box::new(m20261129_000026_complete_webhooks::Migration),
            Box::new(m20261129_000027_index_attempts::Migration),
            Box::new(m20261129_000028_create_usage_months::Migration),
            Box::new(m20261129_000029_delete_accounts::Migration),
            Box::new(m20261129_000029b_index_deleted_accounts::Migration),
            Box::new(m20261129_000030_delete_webhooks_in_slices::Migration),
            Box::new(m20261129_000030b_index_subjects::Migration),
        ]
    }
}

/// A step in SQL.
macro_rules! sql_migration {
    ($up:expr, $down:expr) => {
        use sea_orm_migration::prelude::*;

        #[derive(DeriveMigrationName)]
        pub(crate) struct Migration;

        #[async_trait::async_trait]
        impl MigrationTrait for Migration {
            async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                manager
                    .get_connection()
                    .execute_unprepared($up)
                    .await
                    .map(|_| ())
            }

            async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                manager
                    .get_connection()
                    .execute_unprepared($down)
                    .await
                    .map(|_| ())
            }
        }
    };
}
pub(crate) use sql_migration;

/// A step that builds indexes, given by name and what follows it, while their tables are written, and then drops others. It can be
/// repeated: what an attempt that was cut off has left is dropped first.
macro_rules! index_migration {
    (build: $build:expr, drop: $drop:expr) => {
        use sea_orm_migration::prelude::*;

        const BUILD: &[(&str, &str)] = &$build;
        const DROP: &[(&str, &str)] = &$drop;

        #[derive(DeriveMigrationName)]
        pub(crate) struct Migration;

        #[async_trait::async_trait]
        impl MigrationTrait for Migration {
            /// Postgres builds no index beside others' writing in a transaction.
            fn use_transaction(&self) -> Option<bool> {
                Some(false)
            }

            async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                crate::replace_indexes(manager, BUILD, DROP).await
            }

            async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                crate::replace_indexes(manager, DROP, BUILD).await
            }
        }
    };
}
pub(crate) use index_migration;

async fn replace_indexes(
    manager: &SchemaManager<'_>,
    build: &[(&str, &str)],
    drop: &[(&str, &str)],
) -> Result<(), DbErr> {
    let db = manager.get_connection();
    // Whoever writes at the time is waited for, and keeps nobody else waiting.
    db.execute_unprepared("SET lock_timeout = '60s'").await?;
    for (name, index) in build {
        let left = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        db.execute_unprepared(&left).await?;
        let sql = format!("CREATE INDEX CONCURRENTLY {name} {index}");
        db.execute_unprepared(&sql).await?;
    }
    for (name, _) in drop {
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        db.execute_unprepared(&sql).await?;
    }
    db.execute_unprepared("SET lock_timeout = '3s'").await?;
    Ok(())
}

//! Objects of the storage that are made to last, by the rows that name them: attachments and their variants.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QueryResult,
    SelectExt as _, Statement,
};

use crate::{
    database::Result,
    ids::AttachmentId,
    models::{attachment, image_variant},
};

/// Keys of attachments and of their variants after `key`, in the order of their bytes, with whose they are.
///
/// # Errors
/// As the database fails.
pub async fn list_for_any_user(
    db: &impl ConnectionTrait,
    after: &str,
    limit: u64,
) -> Result<Vec<(String, AttachmentId)>> {
    const SQL: &str = "
        SELECT storage_key, id FROM attachments WHERE storage_key > $1
         UNION ALL SELECT storage_key, attachment_id FROM image_variants WHERE storage_key > $1
         ORDER BY storage_key LIMIT $2";

    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [after.into(), limit.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let rows = db.query_all_raw(statement).await?;
    let pair = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    rows.iter().map(pair).collect()
}

/// Whether an attachment or a variant of one has its object at `key`.
///
/// # Errors
/// As the database fails.
pub async fn is_named_for_any_user(db: &impl ConnectionTrait, key: &str) -> Result<bool> {
    let of_variant = image_variant::Entity::find()
        .filter(image_variant::Column::StorageKey.eq(key))
        .exists(db)
        .await?;
    let of_attachment = attachment::Entity::find()
        .filter(attachment::Column::StorageKey.eq(key))
        .exists(db)
        .await?;
    Ok(of_variant || of_attachment)
}

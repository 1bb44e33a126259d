//! Which rows name which objects of the storage, over all tables of such rows.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    database::Result,
    ids::{AttachmentId, ExportId},
};

/// What names an object for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// An attachment, or a variant of one.
    AttachmentId(AttachmentId),
    /// An export.
    ExportId(ExportId),
}

/// Keys after `key`, in the order of their bytes, with what names them.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    after: &str,
    limit: u64,
) -> Result<Vec<(String, Owner)>> {
    const SQL: &str = "
        (SELECT storage_key, id, 'attachment' AS owner FROM attachments
          WHERE storage_key > $1 ORDER BY storage_key LIMIT $2)
        UNION ALL
        (SELECT storage_key, attachment_id, 'attachment' FROM image_variants
          WHERE storage_key > $1 ORDER BY storage_key LIMIT $2)
        UNION ALL
        (SELECT storage_key, id, 'export' FROM exports
          WHERE storage_key > $1 ORDER BY storage_key LIMIT $2)
        ORDER BY storage_key LIMIT $2";

    let values = [
        after.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| {
            let id: Uuid = row.try_get("", "id")?;
            let owner: String = row.try_get("", "owner")?;
            let owner = if owner == "attachment" {
                Owner::AttachmentId(AttachmentId(id))
            } else {
                Owner::ExportId(ExportId(id))
            };
            Ok((row.try_get("", "storage_key")?, owner))
        })
        .collect()
}

/// Whether a row names the object at `key`.
///
/// # Errors
/// As the database fails.
pub async fn is_named(db: &impl ConnectionTrait, key: &str) -> Result<bool> {
    const SQL: &str = "
        SELECT EXISTS (SELECT FROM attachments WHERE storage_key = $1)
            OR EXISTS (SELECT FROM image_variants WHERE storage_key = $1)
            OR EXISTS (SELECT FROM exports WHERE storage_key = $1)";

    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [key.into()]);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map_or(Ok(false), |row| row.try_get_by_index(0))?)
}

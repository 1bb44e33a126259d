//! What tables have in common that tell what was found in an attachment: one row for each, however often it is tried.
//! Status, error and times are those of the latest try.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait as _, DbBackend, EntityTrait, IdenStatic as _, Iterable as _, QuerySelect as _,
    Select, Statement, Value,
    sea_query::{Expr, SimpleExpr},
};

use crate::{
    database::{Result, Tx},
    ids::{AttachmentId, JobId},
    models::{attachment, context_stamp},
    queue::End,
};

/// A table of this kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Recognitions,
    Transcriptions,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Recognitions => "recognitions",
            Self::Transcriptions => "transcriptions",
        }
    }
}

/// Records that `job` will try, for the first time or again; `language` as the user named it. What was found before
/// stays, and ten jobs are remembered: more than anybody looks at, and they are pruned after some time.
pub(super) async fn begin(
    tx: &mut Tx,
    table: Table,
    attachment: AttachmentId,
    job: JobId,
    language: Option<String>,
    now: DateTime<Utc>,
) -> Result<()> {
    const SQL: &str = "
        INSERT INTO {table} (attachment_id, job_id, status, requested_language, created_at)
        VALUES ($1, $2, 'processing', $3, $4)
        ON CONFLICT (attachment_id) DO UPDATE SET
            job_id = excluded.job_id,
            status = excluded.status,
            requested_language = excluded.requested_language,
            created_at = excluded.created_at,
            error = NULL,
            finished_at = NULL,
            earlier_jobs = CASE WHEN {table}.job_id = excluded.job_id THEN {table}.earlier_jobs
                                ELSE (array_prepend({table}.job_id, {table}.earlier_jobs))[1:9] END";

    let values = [attachment.into(), job.into(), language.into(), now.into()];
    execute(tx, table, SQL, values).await?;
    context_stamp::touch_of_attachment(tx, attachment).await
}

/// Records that the latest try ended without success. Gives the attachment and the reason where somebody is to be told.
pub(super) async fn close<'a>(
    tx: &mut Tx,
    table: Table,
    attachment: AttachmentId,
    end: &'a End,
    now: DateTime<Utc>,
) -> Result<Option<(attachment::Model, &'a str)>> {
    const SQL: &str = "UPDATE {table} SET status = $2, error = $3, finished_at = $4
                        WHERE attachment_id = $1 AND status = 'processing'";

    let status = if matches!(end, End::Cancelled) {
        "cancelled"
    } else {
        "failed"
    };
    let values = [
        attachment.into(),
        status.into(),
        end.reason().into(),
        now.into(),
    ];
    if execute(tx, table, SQL, values).await? == 0 {
        return Ok(None);
    }
    let attachment = attachment::find_for_any_user(tx.orm(), attachment).await?;
    Ok(attachment.zip(end.reason()))
}

/// Records that it will be tried again.
pub(super) async fn reopen(tx: &mut Tx, table: Table, attachment: AttachmentId) -> Result<()> {
    const SQL: &str = "UPDATE {table} SET status = 'processing', error = NULL, finished_at = NULL
                        WHERE attachment_id = $1";

    execute(tx, table, SQL, [attachment.into()]).await?;
    context_stamp::touch_of_attachment(tx, attachment).await
}

/// The jobs of all tries at an attachment, as far as they are remembered; what was found is not loaded for it.
pub(super) async fn find_jobs(tx: &mut Tx, attachment: AttachmentId) -> Result<Vec<JobId>> {
    const SQL: &str = "
        SELECT unnest(array_prepend(job_id, earlier_jobs)) AS id FROM recognitions WHERE attachment_id = $1
         UNION ALL
        SELECT unnest(array_prepend(job_id, earlier_jobs)) FROM transcriptions WHERE attachment_id = $1";

    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [attachment.into()]);
    let rows = tx.orm().query_all_raw(statement).await?;
    rows.iter()
        .map(|row| Ok(JobId(row.try_get("", "id")?)))
        .collect()
}

/// Rows whose text is `shown`, and of which `left_out` is null.
pub(super) fn select<E: EntityTrait>(
    text: E::Column,
    shown: SimpleExpr,
    left_out: &[E::Column],
) -> Select<E> {
    let mut query = E::find().select_only().expr_as(shown, text.as_str());
    for column in E::Column::iter() {
        let is = |other: &E::Column| other.as_str() == column.as_str();
        if left_out.iter().any(is) {
            query = query.expr_as(Expr::cust("NULL::jsonb"), column.as_str());
        } else if !is(&text) {
            query = query.column(column);
        }
    }
    query
}

async fn execute(
    tx: &mut Tx,
    table: Table,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64> {
    let sql = sql.replace("{table}", table.name());
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(tx.orm().execute_raw(statement).await?.rows_affected())
}

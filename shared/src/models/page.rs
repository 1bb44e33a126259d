//! A page of a list, newest first.

use chrono::{DateTime, Utc};
use sea_orm::{
    EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, Value,
    sea_query::Expr,
};

/// The newest `limit` of some rows, only those older than `before`. Their table has `created_at` and `id`.
pub(super) fn newest<E: EntityTrait>(
    mut rows: Select<E>,
    before: Option<(DateTime<Utc>, impl Into<Value>)>,
    limit: u64,
) -> Select<E> {
    if let Some((created_at, id)) = before {
        rows = rows.filter(Expr::cust_with_values(
            "(created_at, id) < ($1, $2)",
            [Value::from(created_at), id.into()],
        ));
    }
    rows.order_by_desc(Expr::col((E::default(), "created_at")))
        .order_by_desc(Expr::col((E::default(), "id")))
        .limit(limit)
}

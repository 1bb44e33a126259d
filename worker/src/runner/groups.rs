//! Groups: which of their due jobs may go to Redis, and which are parked until there is room.
//!
//! One worker decides at a time, under a lock of the database, and only what was decided here is `dispatched`: so a bound
//! holds over all workers. Room is counted anew each time, nothing can drift. A job holds its place in the group from here
//! until its run is over; a retry that waits holds none, but keeps those behind it in its order.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use shared::queue::Queue;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{Engine, Lane, dispatch::DISPATCH, transport::Due};

/// Any number that nothing else locks.
const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(x'67726f757073'::bigint)";

/// Most parked rows of a group that are looked at.
const LOOKED_AT: i32 = 64;

/// Groups of queue `$1` with parked rows that nothing holds, found by one probe each; or those of `$2` only.
const WAITING: &str = "
    WITH RECURSIVE k AS (
        (SELECT group_key FROM jobs WHERE queue = $1 AND state = 'parked' AND $2::text[] IS NULL
          ORDER BY group_key LIMIT 1)
        UNION ALL
        SELECT (SELECT group_key FROM jobs WHERE queue = $1 AND state = 'parked' AND group_key > k.group_key
                 ORDER BY group_key LIMIT 1) FROM k WHERE k.group_key IS NOT NULL),
    named AS (
        SELECT group_key FROM k WHERE group_key IS NOT NULL
        UNION ALL
        SELECT f.key FROM unnest($2::text[]) f(key)
         WHERE EXISTS (SELECT FROM jobs WHERE queue = $1 AND state = 'parked' AND group_key = f.key))
    SELECT s.group_key FROM named s
     WHERE NOT EXISTS (SELECT FROM job_groups g WHERE g.key = s.group_key AND g.not_before > job_now())";

/// Decides on the due rows `$1`, and on parked rows of the groups `$3` in queue `$2`; at most `$4` go. A last row, without an
/// id, tells how many were parked, and after how many microseconds a group may go on that time alone holds back.
///
/// A pace is kept with at most a quarter of a second to catch up with. Of each order only the oldest row that lives may go, so
/// orders are walked by one probe each, not rows.
const ADMIT: &str = "
    WITH due AS MATERIALIZED (
        SELECT id, group_key, group_limit, order_key, priority, created_at FROM jobs
         WHERE id = ANY($1) AND (state = 'queued') IS TRUE FOR UPDATE SKIP LOCKED),
    looked AS MATERIALIZED (
        SELECT f.key, coalesce(g.is_unordered, false) AS is_unordered
          FROM unnest($3::text[]) f(key) LEFT JOIN job_groups g ON g.key = f.key),
    heads AS MATERIALIZED (
        SELECT h.id FROM looked f CROSS JOIN LATERAL (
            WITH RECURSIVE k AS (
                (SELECT order_key FROM jobs WHERE group_key = f.key AND order_key IS NOT NULL
                    AND state IN ('queued', 'parked', 'dispatched', 'running') ORDER BY order_key LIMIT 1)
                UNION ALL
                SELECT (SELECT order_key FROM jobs WHERE group_key = f.key AND order_key > k.order_key
                           AND state IN ('queued', 'parked', 'dispatched', 'running') ORDER BY order_key LIMIT 1)
                  FROM k WHERE k.order_key IS NOT NULL)
            SELECT j.id FROM k CROSS JOIN LATERAL (
                SELECT id, queue, state, created_at FROM jobs WHERE group_key = f.key AND order_key = k.order_key
                   AND state IN ('queued', 'parked', 'dispatched', 'running') ORDER BY created_at, id LIMIT 1) j
             WHERE k.order_key IS NOT NULL AND j.state = 'parked' AND j.queue = $2
             ORDER BY j.created_at, j.id LIMIT $5) h
         WHERE NOT f.is_unordered),
    parked AS MATERIALIZED (
        SELECT w.* FROM looked f CROSS JOIN LATERAL (
            SELECT id, group_key, group_limit, order_key, priority, created_at FROM jobs
             WHERE queue = $2 AND state = 'parked' AND group_key = f.key AND (order_key IS NULL OR f.is_unordered)
             ORDER BY created_at, id LIMIT $5 FOR UPDATE SKIP LOCKED) w),
    ordered AS MATERIALIZED (
        SELECT id, group_key, group_limit, order_key, priority, created_at FROM jobs
         WHERE id = ANY(ARRAY(SELECT id FROM heads)) AND (state = 'parked') IS TRUE FOR UPDATE SKIP LOCKED),
    candidates AS (SELECT * FROM due UNION ALL SELECT * FROM parked UNION ALL SELECT * FROM ordered),
    bounds AS MATERIALIZED (
        SELECT c.key, g.is_unordered, g.interval_us,
               greatest(g.next_at, job_now() - interval '250 milliseconds') AS turn,
               CASE WHEN g.not_before > job_now() THEN g.not_before
                    WHEN g.interval_us IS NOT NULL AND g.next_at > job_now() THEN g.next_at END AS held_until,
               coalesce(g.bound, c.bound)
                   - (SELECT count(*) FROM jobs h WHERE h.group_key = c.key AND h.state IN ('dispatched', 'running')) AS places
          FROM (SELECT group_key AS key, min(group_limit) AS bound FROM candidates GROUP BY group_key) c
          LEFT JOIN job_groups g ON g.key = c.key),
    rooms AS MATERIALIZED (
        SELECT key, is_unordered, held_until, CASE
            WHEN held_until IS NOT NULL THEN 0
            WHEN interval_us IS NULL THEN places
            ELSE least(places, 1 + floor(extract(epoch FROM job_now() - turn) * 1000000 / interval_us)::bigint) END AS room
          FROM bounds),
    ranked AS (
        SELECT c.id, c.group_key, c.priority, c.created_at, r.room,
               row_number() OVER (PARTITION BY c.group_key ORDER BY c.created_at, c.id) AS nth
          FROM candidates c JOIN rooms r ON r.key = c.group_key
         WHERE r.room > 0 AND (c.order_key IS NULL OR r.is_unordered IS TRUE OR NOT EXISTS (
               SELECT FROM jobs o WHERE o.group_key = c.group_key AND o.order_key = c.order_key AND o.id <> c.id
                  AND o.state IN ('queued', 'parked', 'dispatched', 'running')
                  AND (o.state IN ('dispatched', 'running') OR (o.created_at, o.id) < (c.created_at, c.id))))),
    chosen AS MATERIALIZED (
        SELECT id, group_key FROM ranked WHERE nth <= room ORDER BY priority, created_at, id LIMIT $4),
    taken AS (
        UPDATE jobs SET state = 'dispatched', dispatched_at = job_now() FROM chosen WHERE jobs.id = chosen.id
        RETURNING jobs.id, jobs.priority, (extract(epoch FROM jobs.run_at) * 1000)::bigint AS run_at_ms),
    kept AS (
        UPDATE jobs SET state = 'parked' FROM due
         WHERE jobs.id = due.id AND NOT EXISTS (SELECT FROM chosen WHERE chosen.id = due.id)
        RETURNING 1),
    paced AS (
        UPDATE job_groups g
           SET next_at = b.turn + t.many * g.interval_us * interval '1 microsecond'
          FROM (SELECT group_key AS key, count(*) AS many FROM chosen GROUP BY group_key) t JOIN bounds b ON b.key = t.key
         WHERE g.key = t.key AND g.interval_us IS NOT NULL
        RETURNING g.next_at)
    SELECT id, priority, run_at_ms, NULL::bigint AS parked, NULL::bigint AS wait_us FROM taken
    UNION ALL
    SELECT NULL, NULL, NULL, (SELECT count(*) FROM kept),
           (extract(epoch FROM least((SELECT min(held_until) FROM rooms), (SELECT min(next_at) FROM paced)) - job_now())
               * 1000000)::bigint";

/// A look at a queue.
pub(super) struct Look<'a> {
    pub(super) queue: Queue,
    /// Most that go.
    pub(super) most: usize,
    /// Only priorities below this one.
    pub(super) below: i16,
    /// Groups that may have room again.
    pub(super) freed: &'a BTreeSet<String>,
    /// Whether all groups are looked at.
    pub(super) all_groups: bool,
}

/// What it found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) due: Vec<Due>,
    /// Whether due rows were parked.
    pub(super) parked: bool,
    /// A group may go on after this time.
    pub(super) wait: Option<Duration>,
    /// There are jobs of groups.
    pub(super) has_groups: bool,
}

impl Look<'_> {
    /// Takes rows for Redis.
    pub(super) async fn take(&self, db: &mut PgConnection) -> sqlx::Result<Found> {
        let most = i64::try_from(self.most).unwrap_or(i64::MAX);
        let rows = sqlx::query(DISPATCH)
            .bind(self.queue.name())
            .bind(most)
            .bind(self.below)
            .fetch_all(&mut *db)
            .await?;
        let (mut due, mut grouped) = (Vec::new(), Vec::new());
        for row in &rows {
            let id: Uuid = row.try_get(0)?;
            match row.try_get::<Option<i16>, _>(1)? {
                Some(priority) => due.push(Due {
                    id,
                    priority,
                    run_at_ms: row.try_get(2)?,
                }),
                None => grouped.push(id),
            }
        }
        let waiting = self.waiting(db).await?;
        if grouped.is_empty() && waiting.is_empty() {
            return Ok(Found {
                due,
                ..Found::default()
            });
        }
        let room = most.saturating_sub(i64::try_from(due.len()).unwrap_or(i64::MAX));
        let mut found = admit(db, self.queue, &grouped, &waiting, room).await?;
        found.due.extend(due);
        Ok(found)
    }

    /// Groups with parked rows that may go.
    async fn waiting(&self, db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
        if !self.all_groups && self.freed.is_empty() {
            return Ok(Vec::new());
        }
        let freed: Option<Vec<&String>> = (!self.all_groups).then(|| self.freed.iter().collect());
        sqlx::query_scalar(WAITING)
            .bind(self.queue.name())
            .bind(freed)
            .fetch_all(db)
            .await
    }
}

/// Decides on due rows and on all parked ones of a queue: for takers that read Postgres.
pub(super) async fn admit_all(
    db: &mut PgConnection,
    queue: Queue,
    due: Vec<Uuid>,
    most: i64,
) -> sqlx::Result<()> {
    let waiting: Vec<String> = sqlx::query_scalar(WAITING)
        .bind(queue.name())
        .bind(None::<Vec<String>>)
        .fetch_all(&mut *db)
        .await?;
    if !due.is_empty() || !waiting.is_empty() {
        admit(db, queue, &due, &waiting, most).await?;
    }
    Ok(())
}

async fn admit(
    db: &mut PgConnection,
    queue: Queue,
    due: &[Uuid],
    groups: &[String],
    most: i64,
) -> sqlx::Result<Found> {
    // The lock in a statement of its own: the next one sees what was decided before.
    sqlx::raw_sql(LOCK).execute(&mut *db).await?;
    let rows = sqlx::query(ADMIT)
        .bind(due)
        .bind(queue.name())
        .bind(groups)
        .bind(most)
        .bind(LOOKED_AT)
        .fetch_all(&mut *db)
        .await;
    let end = if rows.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sqlx::raw_sql(end).execute(db).await;
    let rows = rows?;
    ended?;
    let mut found = Found {
        has_groups: true,
        ..Found::default()
    };
    for row in &rows {
        if let Some(id) = row.try_get::<Option<Uuid>, _>(0)? {
            found.due.push(Due {
                id,
                priority: row.try_get(1)?,
                run_at_ms: row.try_get(2)?,
            });
        } else {
            found.parked = row.try_get::<i64, _>(3)? > 0;
            let wait: Option<i64> = row.try_get(4)?;
            found.wait = wait.map(|micros| Duration::from_micros(micros.try_into().unwrap_or(0)));
        }
    }
    Ok(found)
}

impl Lane {
    /// Takes the groups that may have room again.
    pub(super) fn freed(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.freed_groups())
    }

    /// Puts them back: they were not looked at.
    pub(super) fn free_again(&self, groups: BTreeSet<String>) {
        self.freed_groups().extend(groups);
    }

    fn freed_groups(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.freed
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Engine {
    /// Notes that a run of a group is over: another one of it may begin, in whichever queue it waits.
    pub(super) fn free(&self, group: &str) {
        for lane in self.lanes.values() {
            if lane.has_groups.load(Ordering::Relaxed) {
                lane.freed_groups().insert(group.to_owned());
                lane.due.store(1, Ordering::Release);
            }
        }
        self.dispatch_wanted.notify_one();
    }

    /// The time has come for groups that it held back.
    pub(super) fn groups_may_go(&self) {
        for lane in self.lanes.values() {
            if lane.has_groups.load(Ordering::Relaxed) {
                lane.look_at_all.store(true, Ordering::Release);
                lane.due.store(1, Ordering::Release);
            }
        }
    }
}

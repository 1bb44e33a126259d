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

/// Most parked rows of a group that are looked at: behind so many that their order blocks, others wait until some of them go.
const LOOKED_AT: i64 = 1000;
/// Most groups of one look; the next one goes on behind them.
const GROUPS_AT_ONCE: i64 = 500;

/// Groups of queue `$1` with parked rows, and whether time alone holds them back: the next `$4` after `$3`, found by one probe each;
/// or those of `$2`.
const WAITING: &str = "
    WITH RECURSIVE k AS (
        (SELECT group_key FROM jobs WHERE queue = $1 AND state = 'parked' AND $2::text[] IS NULL AND group_key > $3
          ORDER BY group_key LIMIT 1)
        UNION ALL
        SELECT (SELECT group_key FROM jobs WHERE queue = $1 AND state = 'parked' AND group_key > k.group_key
                 ORDER BY group_key LIMIT 1) FROM k WHERE k.group_key IS NOT NULL),
    named AS (
        SELECT group_key FROM (SELECT group_key FROM k LIMIT $4) k WHERE group_key IS NOT NULL
        UNION ALL
        SELECT f.key FROM unnest($2::text[]) f(key)
         WHERE EXISTS (SELECT FROM jobs WHERE queue = $1 AND state = 'parked' AND group_key = f.key))
    SELECT n.group_key, EXISTS (SELECT FROM job_groups g WHERE g.key = n.group_key AND (g.not_before > job_now()
               OR g.interval_us IS NOT NULL AND g.next_at > job_now())) AS is_held FROM named n";

/// Whether no other job of the order of row `x` goes before it, or is under way.
macro_rules! is_head {
    ($x:literal) => {
        concat!(
            "(NOT EXISTS (SELECT FROM jobs o WHERE o.group_key = ", $x, ".group_key AND o.order_key = ", $x, ".order_key
                             AND o.state IN ('dispatched', 'running') AND o.id <> ", $x, ".id)
              AND NOT EXISTS (SELECT FROM jobs o WHERE o.group_key = ", $x, ".group_key AND o.order_key = ", $x, ".order_key
                             AND o.state IN ('queued', 'parked', 'dispatched', 'running') AND o.order_no < ", $x, ".order_no))"
        )
    };
}

/// Decides on the due rows `$1`, and on parked rows of the groups `$3` in queue `$2`; at most `$4` go. A last row, without an
/// id, tells how many were parked, and after how many microseconds a group may go on that time alone holds back.
///
/// A pace is kept with at most a quarter of a second to catch up with.
const ADMIT: &str = concat!("
    WITH due AS MATERIALIZED (
        SELECT id, group_key, group_limit, order_key, order_no, priority, created_at FROM jobs
         WHERE id = ANY($1) AND (state = 'queued') IS TRUE AND run_at <= job_now() FOR UPDATE SKIP LOCKED),
    keys AS (
        SELECT key, min(bound) AS bound FROM (
            SELECT group_key AS key, group_limit AS bound FROM due
            UNION ALL
            SELECT f.key, (SELECT group_limit FROM jobs WHERE queue = $2 AND state = 'parked' AND group_key = f.key
                            ORDER BY created_at, id LIMIT 1) FROM unnest($3::text[]) f(key)) k
         GROUP BY key),
    bounds AS MATERIALIZED (
        SELECT c.key, coalesce(g.is_unordered, false) AS is_unordered, g.interval_us,
               greatest(g.next_at, job_now() - interval '250 milliseconds') AS turn,
               CASE WHEN g.not_before > job_now() THEN g.not_before
                    WHEN g.interval_us IS NOT NULL AND g.next_at > job_now() THEN g.next_at END AS held_until,
               coalesce(g.bound, c.bound)
                   - (SELECT count(*) FROM jobs h WHERE h.group_key = c.key AND h.state IN ('dispatched', 'running')) AS places
          FROM keys c LEFT JOIN job_groups g ON g.key = c.key),
    rooms AS MATERIALIZED (
        SELECT key, is_unordered, held_until, CASE
            WHEN held_until IS NOT NULL THEN 0
            WHEN interval_us IS NULL THEN places
            ELSE least(places, 1 + floor(extract(epoch FROM job_now() - turn) * 1000000 / interval_us)::bigint) END AS room
          FROM bounds),
    ready AS MATERIALIZED (
        SELECT w.id FROM rooms r CROSS JOIN LATERAL (
            SELECT s.id FROM (
                SELECT id, group_key, order_key, order_no, created_at FROM jobs
                 WHERE queue = $2 AND state = 'parked' AND group_key = r.key ORDER BY created_at, id LIMIT $5) s
             WHERE s.order_key IS NULL OR r.is_unordered OR ", is_head!("s"), "
             ORDER BY s.created_at, s.id LIMIT greatest(r.room, 0)) w
         WHERE r.room > 0),
    parked AS MATERIALIZED (
        SELECT id, group_key, group_limit, order_key, order_no, priority, created_at FROM jobs
         WHERE id = ANY(ARRAY(SELECT id FROM ready)) AND (state = 'parked') IS TRUE FOR UPDATE SKIP LOCKED),
    candidates AS (SELECT * FROM due UNION ALL SELECT * FROM parked),
    ranked AS MATERIALIZED (
        SELECT c.id, c.group_key, c.priority, c.created_at, r.room,
               row_number() OVER (PARTITION BY c.group_key ORDER BY c.created_at, c.id) AS nth
          FROM candidates c JOIN rooms r ON r.key = c.group_key
         WHERE r.room > 0 AND (c.order_key IS NULL OR r.is_unordered OR ", is_head!("c"), ")),
    chosen AS MATERIALIZED (
        SELECT id, group_key FROM ranked WHERE nth <= room ORDER BY priority, created_at, id LIMIT $4),
    taken AS (
        UPDATE jobs SET state = 'dispatched', dispatched_at = job_now() FROM chosen WHERE jobs.id = chosen.id
        RETURNING jobs.id, jobs.priority, (extract(epoch FROM jobs.run_at) * 1000)::bigint AS run_at_ms),
    kept AS (
        UPDATE jobs SET state = 'parked' FROM due
         WHERE jobs.id = due.id AND NOT EXISTS (SELECT FROM ranked WHERE ranked.id = due.id AND nth <= room)
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
               * 1000000)::bigint");

/// A look at a queue.
pub(super) struct Look<'a> {
    pub(super) queue: Queue,
    /// Most that go.
    pub(super) most: usize,
    /// Only priorities below this one.
    pub(super) below: i16,
    /// Groups that may have room again.
    pub(super) freed: &'a BTreeSet<String>,
    /// All groups are looked at, those behind this one.
    pub(super) all_after: Option<&'a str>,
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
    /// There are more groups behind this one.
    pub(super) after: Option<String>,
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
        let (waiting, after) = self.waiting(db).await?;
        if grouped.is_empty() && waiting.is_empty() {
            return Ok(Found {
                due,
                after,
                ..Found::default()
            });
        }
        let room = most.saturating_sub(i64::try_from(due.len()).unwrap_or(i64::MAX));
        let mut found = match admit(db, self.queue, &grouped, &waiting, room).await {
            Ok(found) => found,
            // What is taken already goes all the same.
            Err(error) if !due.is_empty() && !shared::database::is_away(&error) => {
                tracing::warn!(queue = %self.queue, error = %error, "could not look at groups");
                Found::default()
            }
            Err(error) => return Err(error),
        };
        found.due.extend(due);
        found.after = after;
        Ok(found)
    }

    /// Groups with parked rows that may go; and behind which one the next look goes on, if there are more.
    async fn waiting(&self, db: &mut PgConnection) -> sqlx::Result<(Vec<String>, Option<String>)> {
        if self.all_after.is_none() && self.freed.is_empty() {
            return Ok((Vec::new(), None));
        }
        let freed = self.all_after.is_none().then_some(self.freed);
        waiting(db, self.queue, freed, self.all_after.unwrap_or_default()).await
    }
}

async fn waiting(
    db: &mut PgConnection,
    queue: Queue,
    freed: Option<&BTreeSet<String>>,
    after: &str,
) -> sqlx::Result<(Vec<String>, Option<String>)> {
    let freed: Option<Vec<&String>> = freed.map(|freed| freed.iter().collect());
    let is_walk = freed.is_none();
    let rows: Vec<(String, bool)> = sqlx::query_as(WAITING)
        .bind(queue.name())
        .bind(freed)
        .bind(after)
        .bind(GROUPS_AT_ONCE)
        .fetch_all(db)
        .await?;
    let is_full = is_walk && i64::try_from(rows.len()).is_ok_and(|rows| rows >= GROUPS_AT_ONCE);
    let last = rows.last().filter(|_| is_full).map(|(key, _)| key.clone());
    let waiting = rows
        .into_iter()
        .filter(|(_, is_held)| !is_held)
        .map(|(key, _)| key)
        .collect();
    Ok((waiting, last))
}

/// Decides on due rows, and on parked ones of the groups behind `after`: for takers that read Postgres.
pub(super) async fn admit_next(
    db: &mut PgConnection,
    queue: Queue,
    due: &[Uuid],
    after: &str,
    most: i64,
) -> sqlx::Result<Found> {
    let (waiting, after) = waiting(db, queue, None, after).await?;
    let found = if due.is_empty() && waiting.is_empty() {
        Found::default()
    } else {
        admit(db, queue, due, &waiting, most).await?
    };
    Ok(Found { after, ..found })
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

    /// Behind which group a walk over all of them goes on.
    pub(super) fn walk(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.walk
            .lock()
            .expect("nothing panics while it holds this lock")
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

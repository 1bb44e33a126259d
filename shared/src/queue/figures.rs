//! Counting the queues: one worker does it for all, and whoever wants to know reads `queue_figures`.

use std::time::Duration;

use sqlx::{PgPool, Row as _};

use super::Queue;

/// Time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Most rows that are counted of one queue, priority and state. A deeper backlog shows as this many: what matters then is
/// how long it waits.
pub const MOST_COUNTED: i64 = 50_000;

/// Any number that nothing else locks.
const LOCK: i64 = 0x6669_6775_7265;

/// Whether it is our turn: nobody samples now, and nobody has just done so. Somewhat less than the time between two
/// samples, as clocks tick unevenly.
const TURN: &str = "
    SELECT pg_try_advisory_xact_lock($1)
       AND NOT EXISTS (SELECT FROM queue_figures WHERE sampled_at > job_now() - $2 * interval '1 millisecond')";

/// The plan must not depend on what the statistics say of a table that is always changing.
const SETTINGS: &str = "
    SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off; SET LOCAL synchronous_commit = off";

/// The priorities that wait in the queues `$1`, found by one probe of `jobs_due` each (a loose index scan, as in
/// dispatch), and since when the oldest row of each waits.
macro_rules! waiting {
    () => {
        "WITH RECURSIVE q AS (SELECT unnest($1::text[]) AS queue),
            p AS (
                SELECT q.queue, (SELECT priority FROM jobs WHERE queue = q.queue AND state = 'queued'
                                  ORDER BY priority LIMIT 1) AS priority FROM q
                UNION ALL
                SELECT p.queue, (SELECT priority FROM jobs
                                  WHERE queue = p.queue AND state = 'queued' AND priority > p.priority
                                  ORDER BY priority LIMIT 1) FROM p WHERE p.priority IS NOT NULL),
            waiting AS (
                SELECT p.queue, p.priority, (SELECT run_at FROM jobs
                         WHERE queue = p.queue AND state = 'queued' AND priority = p.priority
                         ORDER BY run_at LIMIT 1) AS oldest FROM p WHERE p.priority IS NOT NULL)"
    };
}

/// Counts the queues `$1`, at most `$2` rows of each queue, priority and state. It reads no row that has ended.
pub const SAMPLE: &str = concat!(
    waiting!(),
    ", counted AS (
        SELECT w.queue, min(w.oldest) AS oldest, sum(due.rows) AS due, sum(later.rows) AS later FROM waiting w
         CROSS JOIN LATERAL (SELECT count(*) AS rows FROM (
            SELECT FROM jobs WHERE queue = w.queue AND state = 'queued' AND priority = w.priority
               AND run_at <= job_now() LIMIT $2) d) due
         CROSS JOIN LATERAL (SELECT count(*) AS rows FROM (
            SELECT FROM jobs WHERE queue = w.queue AND state = 'queued' AND priority = w.priority
               AND run_at > job_now() LIMIT $2) l) later
         GROUP BY w.queue),
     parked AS (
        SELECT q.queue, (SELECT count(*) FROM (SELECT FROM jobs WHERE queue = q.queue AND state = 'parked' LIMIT $2) p) AS rows
          FROM q),
     live AS (
        SELECT queue, state, count(*) AS rows, min(run_at) FILTER (WHERE state = 'dispatched') AS oldest
          FROM jobs WHERE state IN ('dispatched', 'running') GROUP BY queue, state)
     INSERT INTO queue_figures (queue, state, depth, oldest_ready_at, sampled_at)
     SELECT q.queue, 'queued', coalesce(c.due, 0) + w.rows, CASE WHEN c.oldest <= job_now() THEN c.oldest END, job_now()
       FROM q JOIN parked w ON w.queue = q.queue LEFT JOIN counted c ON c.queue = q.queue
     UNION ALL
     SELECT q.queue, 'scheduled', coalesce(c.later, 0), NULL, job_now()
       FROM q LEFT JOIN counted c ON c.queue = q.queue
     UNION ALL
     SELECT q.queue, s.state, coalesce(l.rows, 0), l.oldest, job_now()
       FROM q CROSS JOIN (VALUES ('dispatched'), ('running')) s (state)
       LEFT JOIN live l ON l.queue = q.queue AND l.state = s.state
     ON CONFLICT (queue, state) DO UPDATE
        SET depth = excluded.depth, oldest_ready_at = excluded.oldest_ready_at, sampled_at = excluded.sampled_at"
);

/// How long the oldest job that could run has waited, in seconds, for each of the queues `$1`: a few probes, no count.
const OLDEST_READY: &str = concat!(
    waiting!(),
    ", ready AS (
        SELECT queue, oldest FROM waiting
        UNION ALL
        SELECT queue, min(run_at) FROM jobs WHERE state = 'dispatched' GROUP BY queue)
     SELECT q.queue, greatest(0, extract(epoch FROM job_now() - min(r.oldest)))::float8
       FROM q LEFT JOIN ready r ON r.queue = q.queue GROUP BY q.queue ORDER BY q.queue"
);

/// Counts the queues, unless another worker does so now or has just done it; whether we did.
///
/// # Errors
/// As the database fails.
pub async fn sample(pool: &PgPool) -> sqlx::Result<bool> {
    let recent = i64::try_from((SAMPLE_EVERY * 9 / 10).as_millis()).unwrap_or(i64::MAX);
    let mut tx = pool.begin().await?;
    let is_our_turn: bool = sqlx::query_scalar(TURN)
        .bind(LOCK)
        .bind(recent)
        .fetch_one(&mut *tx)
        .await?;
    if is_our_turn {
        sqlx::raw_sql(SETTINGS).execute(&mut *tx).await?;
        sqlx::query(SAMPLE)
            .bind(names())
            .bind(MOST_COUNTED)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    } else {
        // Now, not when the pool comes to it: the next look must not find our own lock.
        tx.rollback().await?;
    }
    Ok(is_our_turn)
}

/// Queues, with the seconds that their oldest job that could run has waited; none where nothing waits.
///
/// # Errors
/// As the database fails.
pub async fn oldest_ready(pool: &PgPool) -> sqlx::Result<Vec<(String, f64)>> {
    let mut tx = pool.begin().await?;
    sqlx::raw_sql(SETTINGS).execute(&mut *tx).await?;
    let rows = sqlx::query(OLDEST_READY)
        .bind(names())
        .fetch_all(&mut *tx)
        .await?;
    rows.iter()
        .map(|row| {
            let age: Option<f64> = row.try_get(1)?;
            Ok((row.try_get(0)?, age.unwrap_or(0.0)))
        })
        .collect()
}

fn names() -> Vec<&'static str> {
    Queue::ALL.iter().map(|queue| queue.name()).collect()
}

//! Moving ids of due rows to Redis, most urgent first.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shared::queue::Queue;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Engine,
    groups::{self, Look},
};

/// A look at every queue although nobody asked: what a lost nudge costs.
const TICK: Duration = Duration::from_secs(1);
/// How many urgent ids may go in above a full window at a time.
const ABOVE_WINDOW: usize = 64;

/// Due rows of a queue, most urgent first, without reading those that wait for later: `p` walks the priorities that
/// there are by one probe of the index each (a loose index scan), and each has its own range of the index.
macro_rules! due {
    ($lock:literal) => {
        concat!(
            "WITH RECURSIVE p AS (
                (SELECT priority FROM jobs WHERE queue = $1 AND state = 'queued' ORDER BY priority LIMIT 1)
                UNION ALL
                SELECT (SELECT priority FROM jobs WHERE queue = $1 AND state = 'queued' AND priority > p.priority
                         ORDER BY priority LIMIT 1) FROM p WHERE p.priority < $3),
            due AS (
                SELECT d.id, d.is_grouped FROM p CROSS JOIN LATERAL (
                    SELECT id, group_key IS NOT NULL AS is_grouped FROM jobs
                     WHERE queue = $1 AND state = 'queued' AND priority = p.priority AND run_at <= job_now()
                     ORDER BY run_at, id LIMIT $2 ",
            $lock,
            ") d WHERE p.priority < $3 LIMIT $2) "
        )
    };
}

/// Takes due rows of queue `$1` for Redis: at most `$2`, of priorities below `$3`. Those of a group are only named:
/// `groups` decides on them.
pub const DISPATCH: &str = concat!(
    due!("FOR UPDATE SKIP LOCKED"),
    ", taken AS (
        UPDATE jobs SET state = 'dispatched', dispatched_at = job_now() FROM due WHERE jobs.id = due.id AND NOT due.is_grouped
        RETURNING jobs.id, jobs.priority, (extract(epoch FROM jobs.run_at) * 1000)::bigint AS run_at_ms)
     SELECT id, priority, run_at_ms FROM taken UNION ALL SELECT id, NULL, NULL FROM due WHERE is_grouped"
);

/// The same rows, without taking them.
pub const PEEK: &str = concat!(due!(""), "SELECT id, is_grouped FROM due");

/// Ids that were on their way when Redis went.
const PEEK_DISPATCHED: &str = "
    SELECT id FROM jobs WHERE state = 'dispatched' AND queue = $1 ORDER BY priority, run_at, id LIMIT $2";

pub(super) async fn run(engine: Arc<Engine>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // When a group may go on that was held back.
    let mut next: Option<Instant> = None;
    loop {
        let ticked = tokio::select! {
            _ = tick.tick() => true,
            () = engine.dispatch_wanted.notified() => false,
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                engine.groups_may_go();
                false
            }
        };
        let mut saw_postgres = true;
        let mut redis_answers = true;
        let mut wait: Option<Duration> = None;
        for (&queue, lane) in &engine.lanes {
            if lane.due.swap(0, Ordering::AcqRel) > 0 || ticked {
                let round = engine.dispatch(queue, ticked, &mut redis_answers).await;
                saw_postgres &= round.saw_postgres;
                wait = wait.into_iter().chain(round.wait).min();
            }
        }
        let now = Instant::now();
        let known = next.filter(|next| *next > now);
        next = known.into_iter().chain(wait.map(|wait| now + wait)).min();
        if ticked && saw_postgres {
            engine.ticked();
        }
    }
}

/// What a look straight into Postgres found.
#[derive(Default)]
pub(super) struct Peeked {
    pub(super) ids: Vec<Uuid>,
    /// Others may be due behind what was looked at.
    pub(super) is_more: bool,
}

/// What a look at a queue came to.
struct Round {
    saw_postgres: bool,
    /// A group is held back for so long.
    wait: Option<Duration>,
}

impl Engine {
    /// Asks for a look at a queue's due rows.
    pub(super) fn want_dispatch(&self, queue: Queue) {
        if let Some(lane) = self.lanes.get(&queue) {
            lane.due.store(1, Ordering::Release);
            self.dispatch_wanted.notify_one();
        }
    }

    /// Fills the window of a queue. A Redis that does not answer is not asked again in this round: each question may cost a
    /// second.
    async fn dispatch(&self, queue: Queue, ticked: bool, redis_answers: &mut bool) -> Round {
        let lane = &self.lanes[&queue];
        let backlog = if *redis_answers {
            self.transport.backlog(queue).await.ok()
        } else {
            None
        };
        let Some(backlog) = backlog else {
            *redis_answers = false;
            // Takers read Postgres themselves while Redis is away. They are told, so that they look at once.
            lane.available.notify_one();
            let ping = self
                .dispatching
                .run(async |db| sqlx::query("SELECT 1").execute(db).await);
            let saw_postgres = ping.await.is_ok();
            return Round {
                saw_postgres,
                wait: None,
            };
        };
        let room = lane.window().saturating_sub(backlog.waiting);
        // A full window lets only those in that are more urgent than its last.
        let above = (lane.window() + ABOVE_WINDOW).saturating_sub(backlog.waiting);
        let (most, below) = if room > 0 {
            (room, i16::MAX)
        } else {
            (above, backlog.worst)
        };
        let freed = lane.freed();
        // A walk over all groups that has not ended goes on.
        let after = lane.walk().take();
        let is_asked = lane.look_at_all.swap(false, Ordering::AcqRel) || ticked;
        let all_after = after.as_deref().or(is_asked.then_some(""));
        let look = Look {
            queue,
            most,
            below,
            freed: &freed,
            all_after,
        };
        let found = self.dispatching.run(async |db| look.take(db).await).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(queue = %queue, error = %error, "could not dispatch");
                lane.free_again(freed);
                return Round {
                    saw_postgres: false,
                    wait: None,
                };
            }
        };
        if found.has_groups {
            lane.has_groups.store(true, Ordering::Relaxed);
        }
        if found.after.is_some() {
            *lane.walk() = found.after;
            self.want_dispatch(queue);
        }
        if found.parked {
            // Others may be due behind those.
            self.want_dispatch(queue);
        }
        let round = Round {
            saw_postgres: true,
            wait: found.wait,
        };
        if found.due.is_empty() {
            return round;
        }
        if let Err(error) = self.transport.push(queue, &found.due).await {
            tracing::debug!(queue = %queue, error = %error, "could not hand ids to redis");
            let ids: Vec<Uuid> = found.due.iter().map(|due| due.id).collect();
            self.undispatch(&ids).await;
        }
        lane.available.notify_one();
        round
    }

    /// The most urgent due ids of a queue, without taking them: the claim decides.
    pub(super) async fn peek(&self, queue: Queue, most: usize) -> Peeked {
        let lane = &self.lanes[&queue];
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // A walk over all groups that has not ended goes on, so that each has its turn.
        let after = lane.walk().take().unwrap_or_default();
        let peeked = self
            .dispatching
            .run(async |db| {
                let due: Vec<(Uuid, bool)> = sqlx::query_as(PEEK)
                    .bind(queue.name())
                    .bind(most)
                    .bind(i16::MAX)
                    .fetch_all(&mut *db)
                    .await?;
                let (grouped, single): (Vec<_>, Vec<_>) =
                    due.into_iter().partition(|(_, is_grouped)| *is_grouped);
                let grouped: Vec<Uuid> = grouped.into_iter().map(|(id, _)| id).collect();
                let found = groups::admit_next(db, queue, &grouped, &after, most).await?;
                let mut ids: Vec<Uuid> = sqlx::query_scalar(PEEK_DISPATCHED)
                    .bind(queue.name())
                    .bind(most)
                    .fetch_all(&mut *db)
                    .await?;
                ids.extend(single.into_iter().map(|(id, _)| id));
                Ok((ids, found))
            })
            .await;
        let Ok((mut ids, found)) = peeked else {
            return Peeked::default();
        };
        ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let is_more = found.parked || found.after.is_some();
        *lane.walk() = found.after;
        Peeked { ids, is_more }
    }

    /// Takes ids back that nobody will run from Redis. Best effort: the sweep finds the rest.
    pub(super) async fn undispatch(&self, ids: &[Uuid]) {
        if ids.is_empty() {
            return;
        }
        let undone = self
            .dispatching
            .run(async |db| {
                sqlx::query("UPDATE jobs SET state = 'queued' WHERE id = ANY($1) AND (state = 'dispatched') IS TRUE")
                    .bind(ids)
                    .execute(db)
                    .await
            })
            .await;
        if let Err(error) = undone {
            tracing::debug!(error = %error, "could not give ids back");
        }
    }
}

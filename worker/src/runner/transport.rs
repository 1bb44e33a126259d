//! How ids of due jobs reach a worker: one ZSET per queue, scored by priority and time.
//!
//! This is an apalis `Backend` of our own on the connection type that `apalis-redis` re-exports. Its
//! `RedisStorage` is not used: `ARCHITECTURE.md` says why, and this file is all that would change.
//!
//! While Redis is away the ids come straight from Postgres.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use apalis::prelude::{Task, TaskBuilder, TaskId, WorkerContext};
use apalis_core::backend::{Backend, BackendConfig, finalize::Ephemeral, future::BoxSyncFuture};
use apalis_redis::ConnectionManager;
use futures::FutureExt as _;
use redis::{
    Client, IntoConnectionInfo as _, RedisResult, TlsCertificates, aio::ConnectionManagerConfig,
};
use secrecy::ExposeSecret as _;
use shared::{config::RedisConfig, ids::JobId, queue::Queue, redis::Keys};
use tower::layer::util::Identity;
use uuid::Uuid;

use super::{Engine, dispatch::Peeked};

/// Longest wait for Redis while it is thought to be there.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The same while it is known to be away.
const TIMEOUT_AWAY: Duration = Duration::from_millis(50);
/// Most ids taken at once.
const POP: usize = 256;
/// A look at the queue although nothing was heard.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks into Postgres, while Redis is away and there was nothing.
const FALLBACK_POLL: Duration = Duration::from_millis(250);
/// Between two looks into Postgres, while Redis is away and there was work, or not all was looked at.
const FALLBACK_BUSY: Duration = Duration::from_millis(20);

/// score = priority · 10^13 + `run_at` in milliseconds: exact in a double for priorities below 900.
const PRIORITY_STEP: f64 = 1e13;

/// An id that goes to Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) id: Uuid,
    pub(super) priority: i16,
    pub(super) run_at_ms: i64,
}

/// What waits in Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    pub(super) waiting: usize,
    /// Priority of the last one; all, when nothing waits.
    pub(super) worst: i16,
}

/// The Redis side.
#[derive(Clone)]
pub(super) struct Transport {
    connection: ConnectionManager,
    keys: Keys,
}

/// Redis did not do it.
#[derive(Debug, thiserror::Error)]
#[error("redis: {0}")]
pub(super) struct Away(String);

impl Transport {
    /// Makes the connection without connecting: Redis may be down.
    pub(super) fn new(config: &RedisConfig) -> anyhow::Result<Self> {
        let mut url = config.url.expose_secret().to_owned();
        let client = if config.is_tls() {
            if config.tls_insecure {
                url.push_str("#insecure");
            }
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: config.ca.clone(),
            };
            Client::build_with_tls(url.into_connection_info()?, certificates)?
        } else {
            Client::open(url)?
        };
        let manager = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(TIMEOUT);
        let connection = client.get_connection_manager_lazy(manager)?;
        Ok(Self {
            connection,
            keys: Keys::new(&config.prefix),
        })
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        limit: Duration,
        pipe: &redis::Pipeline,
    ) -> Result<T, Away> {
        let mut connection = self.connection.clone();
        let result: RedisResult<T> =
            match tokio::time::timeout(limit, pipe.query_async(&mut connection)).await {
                Ok(result) => result,
                Err(_) => return Err(Away("no answer in time".to_owned())),
            };
        result.map_err(|error| Away(error.to_string()))
    }

    /// How many ids wait, and how urgent the last one is.
    pub(super) async fn backlog(&self, queue: Queue) -> Result<Backlog, Away> {
        let key = self.keys.queue(queue);
        let mut pipe = redis::pipe();
        pipe.zcard(&key).zrevrange_withscores(&key, 0, 0);
        let (waiting, last): (usize, Vec<(String, f64)>) = self.ask(TIMEOUT, &pipe).await?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a priority below 900 times the step"
        )]
        let worst = last
            .first()
            .map_or(i16::MAX, |(_, score)| (score / PRIORITY_STEP) as i16);
        Ok(Backlog { waiting, worst })
    }

    /// Adds ids, and tells the other workers.
    pub(super) async fn push(&self, queue: Queue, due: &[Due]) -> Result<(), Away> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 are far below 2^53"
        )]
        let members: Vec<(f64, String)> = due
            .iter()
            .map(|due| {
                (
                    f64::from(due.priority) * PRIORITY_STEP + due.run_at_ms as f64,
                    due.id.to_string(),
                )
            })
            .collect();
        let mut pipe = redis::pipe();
        pipe.zadd_multiple(self.keys.queue(queue), &members)
            .ignore();
        pipe.publish(self.keys.dispatched(), queue.name()).ignore();
        self.ask(TIMEOUT, &pipe).await
    }

    /// Which of these ids are not waiting in Redis.
    pub(super) async fn missing(&self, queue: Queue, ids: Vec<Uuid>) -> Result<Vec<Uuid>, Away> {
        let mut pipe = redis::pipe();
        let command = pipe.cmd("ZMSCORE").arg(self.keys.queue(queue));
        for id in &ids {
            command.arg(id.to_string());
        }
        let (scores,): (Vec<Option<f64>>,) = self.ask(TIMEOUT, &pipe).await?;
        Ok(ids
            .into_iter()
            .zip(scores)
            .filter(|(_, score)| score.is_none())
            .map(|(id, _)| id)
            .collect())
    }

    /// Takes the most urgent ids.
    async fn pop(&self, queue: Queue, most: usize, away: bool) -> Result<Vec<Uuid>, Away> {
        let mut pipe = redis::pipe();
        pipe.cmd("ZPOPMIN").arg(self.keys.queue(queue)).arg(most);
        let limit = if away { TIMEOUT_AWAY } else { TIMEOUT };
        let (popped,): (Vec<(String, f64)>,) = self.ask(limit, &pipe).await?;
        Ok(popped
            .iter()
            .filter_map(|(id, _)| Uuid::parse_str(id).ok())
            .collect())
    }
}

/// What travels through apalis: an id. The row, and with it the payload, is read by the claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobRef(pub(super) JobId);

/// The backend handles its errors itself: it falls back, and tries again.
#[derive(Debug, thiserror::Error)]
#[error("never")]
pub(super) enum Never {}

enum State {
    Idle,
    Taking(BoxSyncFuture<Taken>),
    Waiting(BoxSyncFuture<()>),
}

enum Taken {
    FromRedis(Vec<Uuid>),
    FromPostgres(Away, Peeked),
}

/// One queue as apalis sees it.
pub(super) struct QueueBackend {
    engine: Arc<Engine>,
    queue: Queue,
    taken: VecDeque<Uuid>,
    state: State,
    failures: u32,
    closing: Option<BoxSyncFuture<()>>,
}

impl QueueBackend {
    pub(super) fn new(engine: Arc<Engine>, queue: Queue) -> Self {
        Self {
            engine,
            queue,
            taken: VecDeque::new(),
            state: State::Idle,
            failures: 0,
            closing: None,
        }
    }

    fn take(&self) -> BoxSyncFuture<Taken> {
        let (engine, queue, away) = (self.engine.clone(), self.queue, self.failures > 0);
        // One slot is already held by the call that these ids are for.
        let most = (engine.lanes[&queue].slots.available_permits() + 1).min(POP);
        async move {
            match engine.transport.pop(queue, most, away).await {
                Ok(ids) => Taken::FromRedis(ids),
                Err(error) => Taken::FromPostgres(error, engine.peek(queue, most).await),
            }
        }
        .boxed()
        .into()
    }

    fn wait(&self, limit: Duration) -> BoxSyncFuture<()> {
        let heard = self.engine.lanes[&self.queue].available.clone();
        async move {
            let _ = tokio::time::timeout(limit, heard.notified()).await;
        }
        .boxed()
        .into()
    }

    fn took(&mut self, taken: Taken) {
        match taken {
            Taken::FromRedis(ids) => {
                if self.failures > 0 {
                    tracing::info!(queue = %self.queue, "ids of jobs come from redis again");
                }
                self.failures = 0;
                self.engine.took(self.queue, ids.len());
                self.state = if ids.is_empty() {
                    State::Waiting(self.wait(POLL))
                } else {
                    State::Idle
                };
                self.taken.extend(ids);
            }
            Taken::FromPostgres(error, peeked) => {
                if self.failures == 0 {
                    tracing::warn!(queue = %self.queue, error = %error, "ids of jobs come from postgres");
                }
                self.failures = self.failures.saturating_add(1);
                let pause = if peeked.ids.is_empty() && !peeked.is_more {
                    FALLBACK_POLL
                } else {
                    FALLBACK_BUSY
                };
                self.state = State::Waiting(self.wait(pause));
                self.taken.extend(peeked.ids);
            }
        }
    }
}

impl Engine {
    /// Counts ids taken from Redis, and asks for more when a quarter of the window is gone.
    fn took(&self, queue: Queue, count: usize) {
        let lane = &self.lanes[&queue];
        if count > 0 && lane.taken.fetch_add(count, Ordering::Relaxed) + count >= lane.window() / 4
        {
            lane.taken.store(0, Ordering::Relaxed);
            self.want_dispatch(queue);
        }
    }
}

impl Backend for QueueBackend {
    type Task = Task<JobRef>;
    type Error = Never;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<JobRef>, Never>>> {
        loop {
            if let Some(id) = self.taken.pop_front() {
                let task = TaskBuilder::new(JobRef(JobId(id)))
                    .task_id(TaskId::from_string(id.to_string()))
                    .build();
                return Poll::Ready(Some(Ok(task)));
            }
            match &mut self.state {
                State::Idle => self.state = State::Taking(self.take()),
                State::Taking(taking) => {
                    let taken = ready!(taking.poll_unpin(cx));
                    self.took(taken);
                }
                State::Waiting(waiting) => {
                    ready!(waiting.poll_unpin(cx));
                    self.state = State::Idle;
                }
            }
        }
    }

    /// A take in flight is finished, and ids that nobody runs go back.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Never>> {
        if let State::Taking(taking) = &mut self.state {
            match ready!(taking.poll_unpin(cx)) {
                Taken::FromRedis(ids) => self.taken.extend(ids),
                Taken::FromPostgres(..) => {}
            }
        }
        self.state = State::Idle;
        let (engine, taken) = (&self.engine, &mut self.taken);
        let closing = self.closing.get_or_insert_with(|| {
            let (engine, ids): (_, Vec<Uuid>) = (engine.clone(), taken.drain(..).collect());
            async move { engine.undispatch(&ids).await }.boxed().into()
        });
        closing.poll_unpin(cx).map(Ok)
    }
}

impl BackendConfig for QueueBackend {
    type Args = JobRef;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = Queue;
    type Layer = Identity;

    fn config(&self) -> &Queue {
        &self.queue
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

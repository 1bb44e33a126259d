//! Telling those who watch a job when it changes.
//!
//! One poller per instance reads all watched rows each second; Redis only hastens it. So any instance serves any
//! watcher, without Redis too, and a thousand watchers cost one statement a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use sea_orm::DatabaseConnection;
use shared::{
    ids::JobId,
    models::job,
    redis::{Heard, Redis},
};
use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::dto::Job;

const POLL: Duration = Duration::from_secs(1);
/// Many changes within this time are one look.
const GATHER: Duration = Duration::from_millis(20);

/// What a watcher sees; nothing once the row is gone.
type Seen = Option<Job>;

/// The watched jobs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Shared>);

struct Shared {
    jobs: Mutex<HashMap<JobId, watch::Sender<Seen>>>,
    look: Notify,
}

impl Watch {
    /// Starts the poller.
    ///
    /// # Errors
    /// When Redis cannot be subscribed to.
    pub(crate) fn start(
        db: DatabaseConnection,
        redis: &Redis,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let watch = Self(Arc::new(Shared {
            jobs: Mutex::default(),
            look: Notify::new(),
        }));
        let mut changes = redis.subscribe(&[redis.keys().changed()])?;
        let (hearing, polling) = (watch.clone(), watch.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let is_watched = match changes.next().await {
                    Heard::Message(_, ids) => {
                        let jobs = hearing.jobs();
                        ids.split(',')
                            .filter_map(|id| id.parse().ok())
                            .any(|id| jobs.contains_key(&id))
                    }
                    Heard::Gap => true,
                };
                if is_watched {
                    hearing.0.look.notify_one();
                }
            }
        }));
        tasks.spawn(stop.run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = polling.0.look.notified() => tokio::time::sleep(GATHER).await,
                }
                polling.look(&db).await;
            }
        }));
        Ok(watch)
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, watch::Sender<Seen>>> {
        self.0
            .jobs
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// Watches a job that the caller may see, from the state it is in.
    pub(crate) fn subscribe(&self, id: JobId, now: Job) -> watch::Receiver<Seen> {
        let mut jobs = self.jobs();
        let receiver = if let Some(sender) = jobs.get(&id) {
            // The caller has just read the row; what was told before may be a second old.
            sender.send_if_modified(|last| {
                let is_news = last.as_ref() != Some(&now);
                *last = Some(now);
                is_news
            });
            sender.subscribe()
        } else {
            let (sender, receiver) = watch::channel(Some(now));
            jobs.insert(id, sender);
            receiver
        };
        drop(jobs);
        // What changed between the caller's look and this one.
        self.0.look.notify_one();
        receiver
    }

    async fn look(&self, db: &DatabaseConnection) {
        let ids: Vec<JobId> = {
            let mut jobs = self.jobs();
            jobs.retain(|_, sender| sender.receiver_count() > 0);
            jobs.keys().copied().collect()
        };
        if ids.is_empty() {
            return;
        }
        let rows = match job::find_all(db, &ids).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(error = %error, "could not look at watched jobs");
                return;
            }
        };
        let mut seen: HashMap<JobId, Job> =
            rows.into_iter().map(|row| (row.id, row.into())).collect();
        let jobs = self.jobs();
        for id in ids {
            let now = seen.remove(&id);
            if let Some(sender) = jobs.get(&id) {
                sender.send_if_modified(|last| {
                    let is_new = *last != now;
                    *last = now;
                    is_new
                });
            }
        }
    }
}

//! Every job this worker can run, one line each.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use shared::{
    jobs::{
        AnnounceConversations, DeleteObject, DeliverWebhook, ExportConversation, HastenDeliveries,
        MakeVariant, ProcessImage, PurgeConversation, PurgeUser, PurgeWebhook, ReadDocument,
        RecognizeText, RecoverWebhook, SummarizeConversation, TitleConversation, TranscribeAudio,
    },
    queue::{Backoff, Job, Queue},
};

use crate::{
    context::JobContext,
    jobs::{Failure, Outcome, Run},
};

type Runner =
    dyn Fn(Value, JobContext) -> BoxFuture<'static, anyhow::Result<Outcome>> + Send + Sync;

/// A kind of job, as the engine needs it.
pub struct Kind {
    /// Wait between tries.
    pub backoff: Backoff,
    /// Where it waits; nothing for work that is only measured.
    pub queue: Option<Queue>,
    /// Where it waits for later tries, if that is elsewhere.
    pub late: Option<Queue>,
    runner: Box<Runner>,
}

impl Kind {
    fn of<J: Run>() -> Self {
        let runner = |payload: Value, context: JobContext| {
            async move {
                let job: J = serde_json::from_value(payload).map_err(|error| {
                    anyhow::Error::new(error)
                        .context(Failure::Permanent("the job cannot be read".to_owned()))
                })?;
                job.run(&context).await
            }
            .boxed()
        };
        Self {
            backoff: J::BACKOFF,
            queue: Some(J::QUEUE),
            late: J::LATE_QUEUE,
            runner: Box::new(runner),
        }
    }

    /// Runs a payload.
    pub fn run(
        &self,
        payload: Value,
        context: JobContext,
    ) -> BoxFuture<'static, anyhow::Result<Outcome>> {
        (self.runner)(payload, context)
    }
}

/// Jobs by name; cheap to clone.
#[derive(Clone, Default)]
pub struct Registry(HashMap<&'static str, Arc<Kind>>);

impl Registry {
    /// All jobs of the product.
    pub fn all() -> Self {
        Self::default()
            .with::<AnnounceConversations>()
            .with::<DeleteObject>()
            .with::<DeliverWebhook>()
            .with::<ExportConversation>()
            .with::<HastenDeliveries>()
            .with::<MakeVariant>()
            .with::<ProcessImage>()
            .with::<PurgeConversation>()
            .with::<PurgeUser>()
            .with::<PurgeWebhook>()
            .with::<ReadDocument>()
            .with::<RecognizeText>()
            .with::<RecoverWebhook>()
            .with::<SummarizeConversation>()
            .with::<TitleConversation>()
            .with::<TranscribeAudio>()
    }

    /// Adds a job, under its name and its former ones.
    #[must_use]
    pub fn with<J: Run>(mut self) -> Self {
        let kind = Arc::new(Kind::of::<J>());
        for &name in J::ALIASES.iter().chain([&<J as Job>::NAME]) {
            self.0.insert(name, kind.clone());
        }
        self
    }

    /// Adds a job whose work is a closure, for benchmarks.
    #[must_use]
    pub fn with_closure(
        mut self,
        name: &'static str,
        runner: impl Fn(Value, JobContext) -> BoxFuture<'static, anyhow::Result<Outcome>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.0.insert(
            name,
            Arc::new(Kind {
                backoff: Backoff::default(),
                queue: None,
                late: None,
                runner: Box::new(runner),
            }),
        );
        self
    }

    /// All jobs by name, former names included.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, &Kind)> {
        self.0.iter().map(|(&name, kind)| (name, &**kind))
    }

    /// Finds a job.
    pub fn find(&self, name: &str) -> Option<Arc<Kind>> {
        self.0.get(name).cloned()
    }
}

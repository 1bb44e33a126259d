//! What follows the end of an answer: the branch is kept for the next question, and jobs are asked for.

use shared::{
    context::{Branch, Earlier, cache},
    ids::MessageId,
    jobs::{SummarizeConversation, TitleConversation},
    models::message::{self, Ended, Status},
    queue::{Enqueue, Wanted},
};

use super::{
    answer::Making,
    prompt::{Asked, Left},
    route::Choice,
};
use crate::app::App;

/// Most tokens of a summary: an eighth of what goes along, within these.
const SUMMARY_SHARE: u32 = 8;
const SUMMARY_LEAST: u32 = 100;
const SUMMARY_MOST: u32 = 1_000;

impl Making {
    /// The jobs that are to follow such an end.
    pub(super) fn jobs(&self, ended: &Ended) -> Vec<Wanted> {
        if ended.status != Status::Completed || matches!(self.choice, Choice::Echo) {
            return Vec::new();
        }
        let conversation = self.asked.conversation;
        let mut jobs = Vec::new();
        if self.wants_title && !ended.text.is_empty() {
            let job = TitleConversation {
                conversation,
                answer: self.row.id,
            };
            let key = job.unique_key();
            let request = Enqueue::new(job).unique(key).of_nobody();
            jobs.push(Wanted::new(request, &self.origin));
        }
        let anchor = self.left.as_ref().and_then(Left::unsummarized);
        if let Some(anchor) = anchor.filter(|_| self.app.config.chat.auto_summary) {
            let share = self.asked.limits.tokens / SUMMARY_SHARE;
            let job = SummarizeConversation {
                conversation,
                anchor,
                most_tokens: share.clamp(SUMMARY_LEAST, SUMMARY_MOST),
            };
            let key = job.unique_key();
            let request = Enqueue::new(job).unique(key).of_nobody();
            jobs.push(Wanted::new(request, &self.origin));
        }
        jobs
    }

    /// The branch that ends with the answer, if it is known as a whole.
    pub(super) fn branch(&mut self, row: &message::Model) -> Option<Branch> {
        let left = self.left.take().filter(|left| left.is_settled)?;
        let is_whole = row.status != Status::Streaming && row.deleted_at.is_none();
        // Of what was said before an answer that goes on, or of which it is not known what is stored, nobody here knows all.
        let question = &self.asked.question;
        let above = self.exchange.last().unwrap_or(question).id;
        let is_known = row.parent_id == Some(above)
            && (row.status == Status::Completed || !self.asked.with_tools)
            && (self.asked.begun.is_none() || !self.asked.with_tools)
            && !self.is_doubtful;
        (is_whole && is_known).then(|| {
            let tools = self.exchange.iter().rev();
            let branch = left.branch.with(Earlier::of(question));
            let branch = branch.with(Earlier::of(row).with_tools(tools));
            branch.trimmed(self.asked.limits)
        })
    }
}

impl Left {
    /// Up to which message a summary is to be made: where messages were left out that none tells of, up to the middle of what
    /// was sent. So it lasts for some answers.
    fn unsummarized(&self) -> Option<MessageId> {
        let since = self.branch.summary.as_ref();
        let untold = since.map_or(self.branch.total, |told| told.since);
        let is_left_out = untold as usize > self.reached;
        let anchor = self.branch.earlier.get(self.reached / 2)?;
        is_left_out.then_some(anchor.id)
    }
}

/// Leaves the branch for the next question, and tells workers of the jobs.
pub(super) async fn leave(app: &App, asked: &Asked, branch: Option<&Branch>, jobs: &[Wanted]) {
    if let Some(branch) = branch {
        let Asked {
            conversation,
            stamp,
            limits,
            ..
        } = asked;
        let lifetime = app.config.chat.context_lifetime;
        cache::put(&app.redis, *conversation, *stamp, *limits, branch, lifetime).await;
    }
    if !jobs.is_empty() {
        let queues: Vec<&str> = jobs.iter().map(|job| job.queue().name()).collect();
        let channel = app.redis.keys().enqueued();
        app.redis.publish(channel, queues.join(",")).await;
    }
}

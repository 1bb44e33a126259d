//! Users hear of events inside the product, where they would want to know though they did not ask.

use futures::future::BoxFuture;
use serde_json::json;

use super::{
    Event, Happened,
    data::{DisabledWebhook, ExportResult, FailedJob, UsageLimit},
};
use crate::{
    database::{Result, Tx},
    ids::UserId,
    jobs::ExportConversation,
    models::{
        notification::{self, Failure, News},
        usage_month::{self, Unit},
    },
    queue::Job as _,
};

/// What a user is told.
enum Told {
    /// What may go wrong again before they look.
    Failure(Failure),
    /// All else.
    News(News),
}

/// Tells the user, if there is anything to be told.
pub(super) fn hear<'a>(tx: &'a mut Tx, happened: &'a Happened<'a>) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        match told(happened.user, happened.event) {
            None => Ok(()),
            Some(Told::Failure(failure)) => {
                notification::tell_failure(tx, failure, happened.at).await
            }
            Some(Told::News(news)) => notification::tell(tx, news, happened.at).await,
        }
    })
}

fn told(user: UserId, event: &Event) -> Option<Told> {
    match event {
        Event::WebhookDisabled(webhook) => Some(Told::Failure(disabled(user, webhook))),
        Event::JobFailed(job) if is_told_of(job) => Some(Told::Failure(failed(user, job))),
        Event::ExportCompleted(export) => Some(Told::News(exported(user, export))),
        Event::ExportFailed(export) => Some(Told::News(not_exported(user, export))),
        Event::UsageLimitApproaching(limit) => Some(Told::News(nearly_used(user, limit))),
        Event::UsageLimitReached(limit) => Some(Told::News(used_up(user, limit))),
        _ => None,
    }
}

/// An export that fails tells so itself, in better words.
fn is_told_of(job: &FailedJob) -> bool {
    job.kind != ExportConversation::NAME
}

fn disabled(user: UserId, webhook: &DisabledWebhook) -> Failure {
    Failure {
        user,
        kind: "webhook.disabled",
        topic: format!("webhook:{}", webhook.webhook_id),
        title: "A webhook was switched off",
        body: format!(
            "Nothing is sent to {} any more: {}.",
            webhook.host, webhook.reason
        ),
        data: json!({ "webhookId": webhook.webhook_id, "reason": webhook.reason }),
    }
}

fn failed(user: UserId, job: &FailedJob) -> Failure {
    Failure {
        user,
        kind: "job.failed",
        topic: format!("job:{}", job.kind),
        title: "Work in the background failed",
        body: format!("The job {} was given up: {}.", job.kind, job.error),
        data: json!({ "jobId": job.job_id, "kind": job.kind, "status": job.status, "reason": job.error }),
    }
}

fn exported(user: UserId, export: &ExportResult) -> News {
    let until = export
        .expires_at
        .map(|at| format!(" until {}", at.format("%Y-%m-%d")));
    News {
        user,
        kind: "export.completed",
        topic: format!("export:{}", export.export_id),
        title: "An export is ready",
        body: format!(
            "{} can be downloaded{}.",
            export.file_name,
            until.unwrap_or_default()
        ),
        data: export_data(export),
    }
}

fn not_exported(user: UserId, export: &ExportResult) -> News {
    let reason = export.error.as_deref().unwrap_or("internal error");
    News {
        user,
        kind: "export.failed",
        topic: format!("export:{}", export.export_id),
        title: "An export failed",
        body: format!("{} could not be made: {reason}.", export.file_name),
        data: export_data(export),
    }
}

fn export_data(export: &ExportResult) -> serde_json::Value {
    json!({
        "exportId": export.export_id,
        "conversationId": export.conversation_id,
        "format": export.format,
        "fileName": export.file_name,
    })
}

fn nearly_used(user: UserId, limit: &UsageLimit) -> News {
    News {
        kind: "usage.limit_approaching",
        title: "A limit is near",
        ..used_up(user, limit)
    }
}

fn used_up(user: UserId, limit: &UsageLimit) -> News {
    let UsageLimit {
        limit: name,
        used,
        allowed,
        ..
    } = limit;
    News {
        user,
        kind: "usage.limit_reached",
        // One tells of both: that it is reached takes the place of that it is near.
        topic: format!("usage:{name}"),
        title: "A limit is reached",
        body: format!("{} are used.", amount(name, *used, *allowed)),
        data: json!({ "limit": name, "used": used, "allowed": allowed, "resetsAt": limit.resets_at }),
    }
}

fn amount(name: &str, used: u64, allowed: u64) -> String {
    if name == Unit::Microusd.as_str() {
        let in_dollars = |amount| usage_month::usd(i64::try_from(amount).unwrap_or(i64::MAX));
        format!("{} of {} US dollars", in_dollars(used), in_dollars(allowed))
    } else {
        format!("{used} of {allowed} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::examples;

    /// Kind, topic and text of what is told of an event.
    fn shown(event: &Event) -> Option<(&'static str, String, String)> {
        let user = examples::user().user_id;
        let (of, kind, topic, body) = match told(user, event)? {
            Told::Failure(told) => (told.user, told.kind, told.topic, told.body),
            Told::News(told) => (told.user, told.kind, told.topic, told.body),
        };
        assert_eq!(of, user);
        Some((kind, topic, body))
    }

    #[test]
    fn users_are_told_of_what_they_would_want_to_know() {
        for (event, text) in [
            (
                Event::WebhookDisabled(examples::disabled_webhook()),
                "Nothing is sent to example.com any more: the endpoint answered 410 Gone.",
            ),
            (
                Event::JobFailed(examples::failed_job()),
                "The job recognize_text was given up: the picture is damaged.",
            ),
            (
                Event::ExportCompleted(examples::export()),
                "The sea 2026-11-21.pdf can be downloaded until 2026-11-28.",
            ),
            (
                Event::ExportFailed(examples::failed_export()),
                "The sea 2026-11-21.pdf could not be made: it took longer than 20 minutes.",
            ),
            (
                Event::UsageLimitApproaching(examples::nearly_used()),
                "800000 of 1000000 tokens are used.",
            ),
            (
                Event::UsageLimitReached(examples::used_up()),
                "1000000 of 1000000 tokens are used.",
            ),
        ] {
            let (kind, _, body) = shown(&event).unwrap();
            assert_eq!((kind, &*body), (event.name(), text));
        }
    }

    #[test]
    fn nobody_is_told_twice_or_of_the_ordinary() {
        let mut export = examples::failed_job();
        export.kind = ExportConversation::NAME.to_owned();
        for event in [
            Event::JobFailed(export),
            Event::UserCreated(examples::user()),
            Event::MessageCreated(examples::question()),
            Event::ImageOcrFailed(examples::unread_image()),
        ] {
            assert!(shown(&event).is_none(), "{}", event.name());
        }
        let topic = |event| shown(&event).unwrap().1;
        assert_eq!(
            topic(Event::UsageLimitApproaching(examples::nearly_used())),
            topic(Event::UsageLimitReached(examples::used_up()))
        );
    }
}

//! The catalogue: each event once, with its name, what it tells, who hears of it, and an example.
//!
//! Another event is another entry of `events!`, and an example of it. What it tells is a struct of [`super::data`].

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    data::{
        AttachmentSummary, ConversationSummary, Data, DeletedAttachment, DeletedConversation,
        DeletedUser, DisabledWebhook, ExportResult, FailedJob, MessageSummary, OcrResult,
        PingedWebhook, TranscriptionResult, UsageLimit, UserSummary,
    },
    examples, schema,
};
use crate::{
    catalogue,
    models::{event, webhook},
};

/// The event of a test of an endpoint.
pub const PING: &str = "webhook.ping";

/// Who hears of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventAudience)]
pub enum Audience {
    /// Whose it is.
    Owner,
    /// Whose it is, and administrators who ask for the events of all users.
    OwnerAndAdmins,
}

/// What is known of an event before it happens.
#[derive(Debug)]
pub struct Kind {
    /// Its name, as endpoints subscribe to it.
    pub name: &'static str,
    /// Who hears of it.
    pub audience: Audience,
    /// Whether endpoints can subscribe to it; others are sent because somebody asked for it.
    pub is_subscribable: bool,
    documentation: &'static str,
    schema: fn(&str, &str) -> Value,
    example: fn() -> Event,
}

impl Kind {
    /// In a sentence, when it happens.
    pub fn description(&self) -> &'static str {
        self.documentation.trim()
    }

    /// The JSON Schema (2020-12) of its whole payload.
    pub fn schema(&self) -> Value {
        (self.schema)(self.name, self.description())
    }

    /// A payload, as receivers get it.
    pub fn example(&self) -> Value {
        event::payload(self.name, examples::at(), &self.sample().told().data())
    }

    /// The event of the example.
    pub fn sample(&self) -> Event {
        (self.example)()
    }
}

macro_rules! events {
    (
        subscribable {$(
            $(#[doc = $doc:literal])+
            $event:ident($data:ident) = $name:literal, $audience:ident, $example:ident;
        )+}
        asked_for {$(
            $(#[doc = $asked_doc:literal])+
            $asked_event:ident($asked_data:ident) = $asked_name:literal, $asked_audience:ident, $asked_example:ident;
        )+}
    ) => {
        /// Something that happened.
        #[derive(Debug, Clone)]
        pub enum Event {
            $($(#[doc = $doc])+ $event($data),)+
            $($(#[doc = $asked_doc])+ $asked_event($asked_data),)+
        }

        /// All kinds of events.
        pub const KINDS: &[Kind] = &[
            $(Kind {
                name: $name,
                audience: Audience::$audience,
                is_subscribable: true,
                documentation: concat!($($doc),+),
                schema: schema::of::<$data>,
                example: || Event::$event(examples::$example()),
            },)+
            $(Kind {
                name: $asked_name,
                audience: Audience::$asked_audience,
                is_subscribable: false,
                documentation: concat!($($asked_doc),+),
                schema: schema::of::<$asked_data>,
                example: || Event::$asked_event(examples::$asked_example()),
            },)+
        ];

        /// Names of all events that endpoints can subscribe to.
        pub const NAMES: &[&str] = &[$($name),+];

        impl Event {
            /// Its name, and what it tells.
            fn parts(&self) -> (&'static str, &dyn Data) {
                match self {
                    $(Self::$event(data) => ($name, data),)+
                    $(Self::$asked_event(data) => ($asked_name, data),)+
                }
            }
        }
    };
}

events! {
    subscribable {
        /// An account was made.
        UserCreated(UserSummary) = "user.created", OwnerAndAdmins, user;
        /// A user changed their profile or privacy, or an operator the account's role, tier or standing.
        UserUpdated(UserSummary) = "user.updated", OwnerAndAdmins, user;
        /// An account was deleted, by its user or by an operator. What belonged to it goes with it: its user's own endpoints hear of
        /// nothing any more, and no event tells of its conversations and files.
        UserDeleted(DeletedUser) = "user.deleted", OwnerAndAdmins, deleted_user;
        /// A conversation was begun.
        ConversationCreated(ConversationSummary) = "conversation.created", Owner, conversation;
        /// A conversation was renamed, moved, tagged, pinned or set otherwise.
        ConversationUpdated(ConversationSummary) = "conversation.updated", Owner, conversation;
        /// A conversation was archived.
        ConversationArchived(ConversationSummary) = "conversation.archived", Owner, archived_conversation;
        /// A conversation was deleted. What was said in it is taken out of the events before.
        ConversationDeleted(DeletedConversation) = "conversation.deleted", Owner, deleted_conversation;
        /// A message was written.
        MessageCreated(MessageSummary) = "message.created", Owner, question;
        /// An answer was made, to its end or until it was stopped.
        MessageCompleted(MessageSummary) = "message.completed", Owner, answer;
        /// An answer could not be made to its end.
        MessageFailed(MessageSummary) = "message.failed", Owner, failed_answer;
        /// A file was uploaded.
        AttachmentCreated(AttachmentSummary) = "attachment.created", Owner, attachment;
        /// A user deleted an attachment. One that goes with its conversation is not told by itself.
        AttachmentDeleted(DeletedAttachment) = "attachment.deleted", Owner, deleted_attachment;
        /// The text of a picture was read.
        ImageOcrCompleted(OcrResult) = "image.ocr_completed", Owner, read_image;
        /// The text of a picture could not be read.
        ImageOcrFailed(OcrResult) = "image.ocr_failed", Owner, unread_image;
        /// The text of a document was read.
        DocumentOcrCompleted(OcrResult) = "document.ocr_completed", Owner, read_document;
        /// The text of a document could not be read.
        DocumentOcrFailed(OcrResult) = "document.ocr_failed", Owner, unread_document;
        /// What is said in a sound was written down.
        AudioTranscriptionCompleted(TranscriptionResult) = "audio.transcription_completed", Owner, heard;
        /// What is said in a sound could not be written down.
        AudioTranscriptionFailed(TranscriptionResult) = "audio.transcription_failed", Owner, unheard;
        /// A file was made of a conversation.
        ExportCompleted(ExportResult) = "export.completed", Owner, export;
        /// No file could be made of a conversation.
        ExportFailed(ExportResult) = "export.failed", Owner, failed_export;
        /// A user has used 80 % of what they may use in a month of UTC: once for each limit and month, unless it is reached at the
        /// same time. It happens only where the operator has set a limit.
        UsageLimitApproaching(UsageLimit) = "usage.limit_approaching", OwnerAndAdmins, nearly_used;
        /// A user has used all that they may use in a month of UTC: once for each limit and month. From now on what costs is
        /// refused, until the next month. It happens only where the operator has set a limit.
        UsageLimitReached(UsageLimit) = "usage.limit_reached", OwnerAndAdmins, used_up;
        /// An endpoint was switched off because of what came of its deliveries.
        WebhookDisabled(DisabledWebhook) = "webhook.disabled", OwnerAndAdmins, disabled_webhook;
        /// Work in the background was given up: its attempts were used up, its error cannot heal, or workers died on it.
        /// Deliveries to endpoints are not told of.
        JobFailed(FailedJob) = "job.failed", OwnerAndAdmins, failed_job;
    }
    asked_for {
        /// Somebody wants to see whether an endpoint hears us.
        WebhookPing(PingedWebhook) = "webhook.ping", Owner, pinged_webhook;
    }
}

impl Event {
    /// Its name, as endpoints subscribe to it.
    pub fn name(&self) -> &'static str {
        self.parts().0
    }

    /// What is known of all events of its name.
    pub fn kind(&self) -> &'static Kind {
        find(self.name()).expect("every event is in the catalogue")
    }

    /// What it tells.
    pub(super) fn told(&self) -> &dyn Data {
        self.parts().1
    }
}

/// Finds a kind of event by its name.
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The kinds of events that a name or a pattern means: `attachment.created`, `attachment.*`, or `*`.
pub fn matching(pattern: &str) -> Vec<&'static Kind> {
    let patterns = [pattern.to_owned()];
    KINDS
        .iter()
        .filter(|kind| webhook::wants(&patterns, kind.name))
        .collect()
}

/// The kinds of events that administrators hear of, whoever's they are.
pub fn for_admins() -> impl Iterator<Item = &'static Kind> {
    KINDS
        .iter()
        .filter(|kind| kind.audience == Audience::OwnerAndAdmins)
}

/// Names of events that somebody may have meant.
pub fn near(name: &str) -> Vec<&'static str> {
    catalogue::near(name, KINDS.iter().map(|kind| kind.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_example_keeps_to_its_schema() {
        for kind in KINDS {
            let (schema, example) = (kind.schema(), kind.example());
            let options = jsonschema::options().should_validate_formats(true);
            let validator = options
                .build(&schema)
                .unwrap_or_else(|error| panic!("{}: {error} in {schema}", kind.name));
            let problems: Vec<String> = validator
                .iter_errors(&example)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{}: {problems:?}", kind.name);
            assert!(!schema.to_string().contains("#/components/"), "{schema}");
            for (field, wrong) in [
                ("type", "user.renamed".into()),
                ("timestamp", "yesterday".into()),
                ("data", Value::Null),
            ] {
                let mut other = example.clone();
                other[field] = wrong;
                assert!(!validator.is_valid(&other), "{}: {field}", kind.name);
            }
        }
    }

    #[test]
    fn names_are_those_of_the_standard_and_there_once() {
        let mut names = BTreeSet::new();
        for kind in KINDS {
            assert!(names.insert(kind.name), "{} is there twice", kind.name);
            let is_good = kind.name.split('.').all(|part| {
                let is_good = |letter: char| letter.is_ascii_lowercase() || letter == '_';
                !part.is_empty() && part.chars().all(is_good)
            });
            assert!(is_good && kind.name.contains('.'), "{}", kind.name);
            assert_eq!(kind.sample().name(), kind.name);
            assert_eq!(NAMES.contains(&kind.name), kind.is_subscribable);
            assert_eq!(kind.name == PING, !kind.is_subscribable);
            let told = kind.description();
            assert!(told.ends_with('.') && !told.contains("  "), "{told:?}");
        }
    }

    #[test]
    fn patterns_mean_events() {
        let names = |pattern: &str| -> Vec<&'static str> {
            matching(pattern).iter().map(|kind| kind.name).collect()
        };
        assert_eq!(names("*").len(), KINDS.len());
        assert_eq!(
            names("attachment.*"),
            ["attachment.created", "attachment.deleted"]
        );
        assert_eq!(names("job.failed"), ["job.failed"]);
        for none in [
            "",
            "attachment",
            "attachment.",
            "attach*",
            "*.created",
            "%",
            "job.*.*",
        ] {
            assert!(names(none).is_empty(), "{none:?}");
        }
        assert_eq!(
            near("attachment.create").first(),
            Some(&"attachment.created")
        );
    }

    /// Turns that are written together are written only where no endpoint of their user's could want to hear of them. Those
    /// of administrators are not looked for.
    #[test]
    fn nobody_else_hears_of_turns() {
        for pattern in ["conversation.*", "message.*"] {
            let kinds = matching(pattern);
            assert!(!kinds.is_empty());
            assert!(kinds.iter().all(|kind| kind.audience == Audience::Owner));
        }
    }
}

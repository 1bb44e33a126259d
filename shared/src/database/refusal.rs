//! What rules say no to.

use crate::models::{api_key, export, image_variant, webhook};

/// A rule that a request ran into; the codes are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another account has the address.
    #[error("an account with this e-mail address exists already")]
    EmailTaken,
    /// Somebody has to be able to do what administrators do.
    #[error("the last administrator cannot be deleted; make somebody else one first")]
    LastAdmin,
    /// The user has as many keys as one may have.
    #[error("there are {max} API keys already; delete one", max = api_key::MAX_PER_USER)]
    ApiKeyLimit,
    /// Archived conversations are only read.
    #[error("the conversation is archived; unarchive it to write to it")]
    ConversationArchived,
    /// Another message of the conversation has the id that its client gave it.
    #[error("another message of this conversation has this clientId")]
    ClientIdReused,
    /// What a model said is not worded anew by a client.
    #[error("only messages of the user can be edited")]
    MessageNotEditable,
    /// Only an answer that is not whole can be gone on with.
    #[error("only an answer that was cut short can be continued")]
    MessageNotContinuable,
    /// Only answers are rated.
    #[error("only answers of a model can be rated")]
    MessageNotRatable,
    /// There is no question above it.
    #[error("only messages of the user and answers to them can be answered anew")]
    MessageNotAnswerable,
    /// What tools say comes before it yet.
    #[error(
        "the answer before it is still being made, with tools: wait for its end, stop it, or name another message as `parentId`"
    )]
    AnswerInProgress,
    /// Only failed, cancelled and quarantined jobs can be run again.
    #[error("the job has not failed, so it cannot be retried")]
    JobNotFailed,
    /// The same work is waiting or running already.
    #[error("the same work is already waiting or running")]
    JobDuplicate,
    /// Succeeded, failed and cancelled jobs cannot be cancelled.
    #[error("the job has ended already")]
    JobEnded,
    /// A user has only so many endpoints.
    #[error("there are as many endpoints as a user may have; delete one to make another")]
    WebhookLimitReached,
    /// Nothing is sent to an endpoint that is off.
    #[error("the endpoint is switched off; switch it on to send to it")]
    WebhookInactive,
    /// Former secrets sign, too, and each makes every request longer.
    #[error("{max} former secrets still sign; wait until one ends, or end them all with an overlap of 0", max = webhook::secrets::MAX_OLD)]
    WebhookSecretLimit,
    /// Requests are signed with a shared secret only.
    #[error("the endpoint has no signing key; add v1a to its signatures to make one")]
    NoSigningKey,
    /// It is going to be sent anyway.
    #[error("the delivery still waits for a try of its own")]
    DeliveryPending,
    /// Its user is no administrator any more, or it asks for its own user's only.
    #[error(
        "the event is another user's: only endpoints of administrators with the scope `all` are sent it"
    )]
    EventOfAnother,
    /// No configured key opens it.
    #[error(
        "the secret cannot be read with the server's keys: replace it with an `overlapSeconds` of 0, or have the former SECRET_KEY put into SECRET_KEY_PREVIOUS"
    )]
    WebhookSecretUnreadable,
    /// A user has only so many exports.
    #[error("there are {max} exports already; delete one or wait until one expires", max = export::MAX_PER_USER)]
    ExportLimitReached,
    /// Sound is not read.
    #[error("there is no text to be read in a file of this kind")]
    NotReadable,
    /// Only sound is heard.
    #[error("there is nothing to be heard in a file of this kind")]
    NotTranscribable,
    /// What was heard first comes later, or never.
    #[error("nothing of this file is transcribed yet")]
    NotTranscribed,
    /// Only of pictures there are variants.
    #[error("there are variants of pictures only")]
    NotAPicture,
    /// A picture has only so many variants.
    #[error("there are {max} variants already; delete one", max = image_variant::MAX_PER_ATTACHMENT)]
    VariantLimit,
    /// What every picture has stays with it.
    #[error("every picture has this variant; it goes with the attachment")]
    StandardVariant,
}

impl Refusal {
    /// Permanent code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::EmailTaken => "email_taken",
            Self::LastAdmin => "last_admin",
            Self::ApiKeyLimit => "api_key_limit",
            Self::ConversationArchived => "conversation_archived",
            Self::ClientIdReused => "client_id_reused",
            Self::MessageNotEditable => "message_not_editable",
            Self::MessageNotContinuable => "message_not_continuable",
            Self::MessageNotRatable => "message_not_ratable",
            Self::MessageNotAnswerable => "message_not_answerable",
            Self::AnswerInProgress => "answer_in_progress",
            Self::JobNotFailed => "job_not_failed",
            Self::JobDuplicate => "job_duplicate",
            Self::JobEnded => "job_ended",
            Self::WebhookLimitReached => "webhook_limit_reached",
            Self::WebhookInactive => "webhook_inactive",
            Self::WebhookSecretLimit => "webhook_secret_limit",
            Self::NoSigningKey => "no_signing_key",
            Self::DeliveryPending => "delivery_pending",
            Self::EventOfAnother => "event_of_another_user",
            Self::WebhookSecretUnreadable => "webhook_secret_unreadable",
            Self::ExportLimitReached => "export_limit_reached",
            Self::NotReadable => "not_readable",
            Self::NotTranscribable => "not_transcribable",
            Self::NotTranscribed => "not_transcribed",
            Self::NotAPicture => "not_a_picture",
            Self::VariantLimit => "variant_limit",
            Self::StandardVariant => "standard_variant",
        }
    }

    pub(super) fn from_constraint(name: &str) -> Option<Self> {
        match name {
            "users_email_key" => Some(Self::EmailTaken),
            "messages_client_id_key" => Some(Self::ClientIdReused),
            "jobs_unique_key" => Some(Self::JobDuplicate),
            _ => None,
        }
    }
}

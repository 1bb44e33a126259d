//! Examples of what events tell.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    AttachmentSummary, ConversationSummary, DeletedAttachment, DeletedConversation, DeletedUser,
    DisabledWebhook, ExportResult, FailedJob, MessageSummary, OcrResult, PingedWebhook,
    TranscriptionResult, UsageLimit, UserSummary,
};
use crate::{
    ids::{AttachmentId, ConversationId, ExportId, JobId, MessageId, UserId, WebhookId},
    models::{
        attachment::Kind,
        export::Format,
        job,
        message::{Failure, Status},
        user::PresenceSharing,
    },
};

/// The beginning of all ids in examples.
const IDS: u128 = 0x019a_a5c1_7d3a_7c62_9f0b_5e1d_2a3b_4c00;

const USER: UserId = UserId(id(1));
const CONVERSATION: ConversationId = ConversationId(id(2));
const QUESTION: MessageId = MessageId(id(3));
const ANSWER: MessageId = MessageId(id(4));
const ATTACHMENT: AttachmentId = AttachmentId(id(5));
const EXPORT: ExportId = ExportId(id(6));
const WEBHOOK: WebhookId = WebhookId(id(7));
const JOB: JobId = JobId(id(8));

const fn id(number: u128) -> Uuid {
    Uuid::from_u128(IDS + number)
}

/// When they happened.
pub(super) fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_795_253_400_250_000).unwrap_or_default()
}

pub(super) fn user() -> UserSummary {
    UserSummary {
        user_id: USER,
        display_name: Some("Ana".to_owned()),
        avatar_url: None,
        presence_sharing: PresenceSharing::Everyone,
        read_receipts_enabled: true,
        version: 1,
    }
}

pub(super) fn deleted_user() -> DeletedUser {
    DeletedUser { user_id: USER }
}

pub(super) fn deleted_conversation() -> DeletedConversation {
    DeletedConversation {
        conversation_id: CONVERSATION,
        project_id: None,
    }
}

pub(super) fn conversation() -> ConversationSummary {
    ConversationSummary {
        conversation_id: CONVERSATION,
        project_id: None,
        title: Some("The sea".to_owned()),
        tags: vec!["water".to_owned()],
        pinned: false,
        archived: false,
        version: 1,
    }
}

pub(super) fn archived_conversation() -> ConversationSummary {
    ConversationSummary {
        archived: true,
        version: 4,
        ..conversation()
    }
}

pub(super) fn question() -> MessageSummary {
    MessageSummary {
        message_id: QUESTION,
        conversation_id: CONVERSATION,
        parent_id: None,
        role: "user",
        text: "What is the sea?".to_owned(),
        truncated: false,
        attachment_ids: vec![ATTACHMENT],
        token_count: 10,
        status: Status::Completed,
        model: None,
        finish_reason: None,
        error: None,
    }
}

pub(super) fn answer() -> MessageSummary {
    MessageSummary {
        message_id: ANSWER,
        parent_id: Some(QUESTION),
        role: "assistant",
        text: "Salt and water.".to_owned(),
        attachment_ids: Vec::new(),
        token_count: 9,
        model: Some("gpt-4o-mini".to_owned()),
        finish_reason: Some("stop".to_owned()),
        ..question()
    }
}

pub(super) fn failed_answer() -> MessageSummary {
    MessageSummary {
        text: "Salt and".to_owned(),
        token_count: 7,
        status: Status::Failed,
        finish_reason: None,
        error: Some(Failure {
            code: "provider_failed".to_owned(),
            detail: "the answer was cut off".to_owned(),
            retry_after_ms: None,
            provider_status: None,
        }),
        ..answer()
    }
}

pub(super) fn attachment() -> AttachmentSummary {
    AttachmentSummary {
        attachment_id: ATTACHMENT,
        conversation_id: Some(CONVERSATION),
        message_id: None,
        kind: Kind::Image,
        file_name: "scan.png".to_owned(),
        media_type: "image/png".to_owned(),
        size_bytes: 48_213,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        width: Some(1240),
        height: Some(1754),
    }
}

pub(super) fn deleted_attachment() -> DeletedAttachment {
    DeletedAttachment {
        attachment_id: ATTACHMENT,
        conversation_id: Some(CONVERSATION),
        message_id: Some(QUESTION),
    }
}

pub(super) fn read_image() -> OcrResult {
    OcrResult {
        attachment_id: ATTACHMENT,
        conversation_id: Some(CONVERSATION),
        message_id: Some(QUESTION),
        extracted_text: Some("Invoice 4711".to_owned()),
        low_confidence: false,
        truncated: false,
        language: Some("eng".to_owned()),
        confidence: Some(95.5),
        pages: None,
        error: None,
    }
}

pub(super) fn unread_image() -> OcrResult {
    OcrResult {
        extracted_text: None,
        language: None,
        confidence: None,
        error: Some("the picture is damaged".to_owned()),
        ..read_image()
    }
}

pub(super) fn read_document() -> OcrResult {
    OcrResult {
        pages: Some(3),
        ..read_image()
    }
}

pub(super) fn unread_document() -> OcrResult {
    OcrResult {
        error: Some("the document has a password".to_owned()),
        ..unread_image()
    }
}

pub(super) fn heard() -> TranscriptionResult {
    TranscriptionResult {
        attachment_id: ATTACHMENT,
        conversation_id: Some(CONVERSATION),
        message_id: Some(QUESTION),
        text: Some("Bring the blue book.".to_owned()),
        truncated: false,
        language: Some("en".to_owned()),
        confidence: Some(0.75),
        duration_seconds: Some(3.5),
        engine: Some("groq".to_owned()),
        model: Some("whisper-large-v3".to_owned()),
        error: None,
    }
}

pub(super) fn unheard() -> TranscriptionResult {
    TranscriptionResult {
        text: None,
        language: None,
        confidence: None,
        duration_seconds: None,
        engine: None,
        model: None,
        error: Some("there is no sound in the file".to_owned()),
        ..heard()
    }
}

pub(super) fn export() -> ExportResult {
    ExportResult {
        export_id: EXPORT,
        conversation_id: CONVERSATION,
        format: Format::Pdf,
        file_name: "The sea 2026-11-21.pdf".to_owned(),
        size_bytes: Some(90_112),
        message_count: Some(12),
        expires_at: Some(at() + TimeDelta::days(7)),
        error: None,
    }
}

pub(super) fn failed_export() -> ExportResult {
    ExportResult {
        size_bytes: None,
        message_count: None,
        error: Some("it took longer than 20 minutes".to_owned()),
        ..export()
    }
}

pub(super) fn nearly_used() -> UsageLimit {
    UsageLimit {
        user_id: USER,
        limit: "tokens".to_owned(),
        used: 800_000,
        allowed: 1_000_000,
        resets_at: Some(at() + TimeDelta::days(9)),
    }
}

pub(super) fn used_up() -> UsageLimit {
    UsageLimit {
        used: 1_000_000,
        ..nearly_used()
    }
}

pub(super) fn disabled_webhook() -> DisabledWebhook {
    DisabledWebhook {
        webhook_id: WEBHOOK,
        user_id: USER,
        host: "example.com".to_owned(),
        reason: "the endpoint answered 410 Gone".to_owned(),
    }
}

pub(super) fn failed_job() -> FailedJob {
    FailedJob {
        job_id: JOB,
        user_id: USER,
        kind: "recognize_text".to_owned(),
        status: job::Status::Failed,
        attempt: 1,
        error: "the picture is damaged".to_owned(),
    }
}

pub(super) fn pinged_webhook() -> PingedWebhook {
    PingedWebhook {
        webhook_id: WEBHOOK,
    }
}

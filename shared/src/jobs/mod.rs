//! The contract of each job: its payload and its rules. The work itself is in the worker, in a file of the same
//! name.

mod announce_conversations;
mod delete_object;
mod deliver_webhook;
mod export_conversation;
mod hasten_deliveries;
mod make_variant;
mod process_image;
mod purge_conversation;
mod purge_user;
mod purge_webhook;
mod read_document;
mod recognize_text;
mod recover_webhook;
mod summarize_conversation;
mod title_conversation;
mod transcribe_audio;

use serde_json::Value;

pub use self::{
    announce_conversations::AnnounceConversations, delete_object::DeleteObject,
    deliver_webhook::DeliverWebhook, export_conversation::ExportConversation,
    hasten_deliveries::HastenDeliveries, make_variant::MakeVariant, process_image::ProcessImage,
    purge_conversation::PurgeConversation, purge_user::PurgeUser, purge_webhook::PurgeWebhook,
    read_document::ReadDocument, recognize_text::RecognizeText, recover_webhook::RecoverWebhook,
    summarize_conversation::SummarizeConversation, title_conversation::TitleConversation,
    transcribe_audio::TranscribeAudio,
};
use crate::{
    database::{Result, Tx},
    queue::{End, Job},
};

/// Runs `$then` with the payload of a row as its job's type.
macro_rules! with_job {
    ($kind:expr, $payload:expr, |$job:ident| $then:expr) => {
        with_job!(@of AnnounceConversations, DeleteObject, DeliverWebhook, ExportConversation, HastenDeliveries, MakeVariant, ProcessImage, PurgeConversation, PurgeUser, PurgeWebhook, ReadDocument, RecognizeText, RecoverWebhook, SummarizeConversation, TitleConversation, TranscribeAudio; $kind, $payload, $job, $then)
    };
    (@of $($type:ident),+; $kind:expr, $payload:expr, $job:ident, $then:expr) => {
        $(if $kind == <$type as Job>::NAME || <$type as Job>::ALIASES.contains(&$kind) {
            match serde_json::from_value::<$type>($payload.clone()) {
                Ok($job) => $then,
                Err(error) => {
                    tracing::error!(kind = $kind, error = %error, "a job's payload cannot be read, so its rows are not told");
                    Ok(())
                }
            }
        } else)+ {
            Ok(())
        }
    };
}

/// Tells the rows of a job that it ended without success.
pub(crate) async fn ended(kind: &str, payload: &Value, tx: &mut Tx, end: &End) -> Result<()> {
    with_job!(kind, payload, |job| job.ended(tx, end).await)
}

/// Tells the rows of a job that it was put back.
pub(crate) async fn reopened(kind: &str, payload: &Value, tx: &mut Tx) -> Result<()> {
    with_job!(kind, payload, |job| job.reopened(tx).await)
}

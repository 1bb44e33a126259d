//! Ids: one newtype per thing, so that a message id cannot be passed for a conversation id.
//!
//! All are UUIDv7 (RFC 9562 §5.7): they sort by the time of their making, which keeps index pages warm.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new id.
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            #[expect(clippy::new_without_default, reason = "a default id would be a new one each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )+};
}

ids! {
    /// A person's account.
    UserId,
    /// A session: one pair of access and refresh tokens.
    SessionId,
    /// A folder of conversations with instructions of its own.
    ProjectId,
    /// A credential of a program.
    ApiKeyId,
    /// A conversation.
    ConversationId,
    /// A message of a conversation.
    MessageId,
    /// An uploaded file.
    AttachmentId,
    /// A file made of a conversation.
    ExportId,
    /// A picture made of an uploaded one.
    VariantId,
    /// A job of the engine.
    JobId,
    /// An endpoint that receives events.
    WebhookId,
    /// A secret with which requests to an endpoint are signed.
    SecretId,
    /// The resending of what an endpoint has missed.
    RecoveryId,
    /// Something that happened, as told to webhooks; `webhook-id` on the wire.
    EventId,
    /// One event on its way to one endpoint; `X-BaatCheet-Delivery-ID` on the wire.
    DeliveryId,
    /// One attempt at a delivery.
    AttemptId,
    /// Something that a user is told inside the product.
    NotificationId,
    /// A row of the ledger.
    UsageId,
}

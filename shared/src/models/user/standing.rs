//! What an account is and may.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an account may do besides using its own things.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing more.
    #[sea_orm(string_value = "user")]
    User,
    /// What operators do.
    #[sea_orm(string_value = "admin")]
    Admin,
}

/// Which limits and features an account has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The smallest ones.
    #[sea_orm(string_value = "free")]
    Free,
    /// Larger ones.
    #[sea_orm(string_value = "pro")]
    Pro,
    /// The largest ones.
    #[sea_orm(string_value = "enterprise")]
    Enterprise,
}

/// Whether an account may be used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = UserStatus)]
pub enum Status {
    /// It may.
    #[sea_orm(string_value = "active")]
    Active,
    /// An operator has barred it.
    #[sea_orm(string_value = "suspended")]
    Suspended,
}

/// Who can see whether the user is online.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum PresenceSharing {
    /// Anybody.
    #[sea_orm(string_value = "everyone")]
    Everyone,
    /// Friends only.
    #[sea_orm(string_value = "friends")]
    Friends,
    /// Nobody.
    #[sea_orm(string_value = "nobody")]
    Nobody,
}

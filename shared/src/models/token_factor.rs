//! What programs have learned together of models whose encoding is not known.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult as _, Statement, entity::prelude::*};
use serde::Serialize;

use crate::{
    database::Result,
    tokens::{Learned, Sums},
};

/// What is left of an answer after the next one: the latest fifty count most, so that another model behind the same name
/// is soon the one that is known.
const KEPT: f64 = 0.98;
/// Answers after which nothing is left that counts.
const NOTHING_LEFT: i64 = 1_000;

/// A row of `token_factors`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "token_factors")]
pub struct Model {
    /// Whose model it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// As the provider calls it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    /// What the tokens were counted in.
    #[sea_orm(primary_key, auto_increment = false)]
    pub encoding: String,
    /// Answers from which it was learned.
    pub samples: i64,
    /// Tokens of their questions, as they are counted here. This and what follows fades.
    pub estimated: f64,
    /// The same, as the provider reported them.
    pub reported: f64,
    /// Squares of what was reported, each divided by what was estimated.
    pub squares: f64,
    /// When something was learned last.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// What follows from it.
    pub fn learned(&self) -> Option<Learned> {
        let samples = u64::try_from(self.samples).unwrap_or_default();
        Learned::of(samples, self.estimated, self.reported, self.squares)
    }
}

/// What a program has learned of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Addition {
    provider: String,
    model: String,
    encoding: String,
    samples: u32,
    estimated: f64,
    reported: f64,
    squares: f64,
}

impl Addition {
    /// Makes one of sums.
    pub fn of(provider: &str, model: &str, encoding: &str, sums: &Sums) -> Self {
        Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            encoding: encoding.to_owned(),
            samples: sums.answers,
            estimated: sums.estimated,
            reported: sums.reported,
            squares: sums.squares,
        }
    }
}

/// Lists all that was learned of what is counted in an encoding.
///
/// # Errors
/// As the database fails.
pub async fn list(db: &impl ConnectionTrait, encoding: &str) -> Result<Vec<Model>> {
    let of_encoding = Entity::find().filter(Column::Encoding.eq(encoding));
    Ok(of_encoding.all(db).await?)
}

/// Adds what a program has learned, each model once, and tells what is known of these models then.
///
/// # Errors
/// As the database fails; then nothing was added.
pub async fn add(
    db: &impl ConnectionTrait,
    additions: &[Addition],
    now: DateTime<Utc>,
) -> Result<Vec<Model>> {
    // In one order, so that no two programs wait for each other.
    const SQL: &str = "
        INSERT INTO token_factors AS f (provider, model, encoding, samples, estimated, reported, squares, updated_at)
        SELECT a.provider, a.model, a.encoding, a.samples, a.estimated, a.reported, a.squares, $2::timestamptz
          FROM json_to_recordset($1::json) AS a(
                   provider text, model text, encoding text, samples bigint, estimated double precision, reported double precision,
                   squares double precision)
         ORDER BY a.provider, a.model, a.encoding
            ON CONFLICT ON CONSTRAINT token_factors_pkey DO UPDATE SET
               samples = f.samples + excluded.samples,
               estimated = f.estimated * power($3::double precision, least(excluded.samples, $4::bigint)::double precision)
                           + excluded.estimated,
               reported = f.reported * power($3::double precision, least(excluded.samples, $4::bigint)::double precision)
                          + excluded.reported,
               squares = f.squares * power($3::double precision, least(excluded.samples, $4::bigint)::double precision)
                         + excluded.squares,
               updated_at = greatest(f.updated_at, excluded.updated_at)
        RETURNING f.provider, f.model, f.encoding, f.samples, f.estimated, f.reported, f.squares, f.updated_at";
    let rows = serde_json::to_string(additions).expect("they are plain data");
    let values = [rows.into(), now.into(), KEPT.into(), NOTHING_LEFT.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    Ok(Model::find_by_statement(statement).all(db).await?)
}

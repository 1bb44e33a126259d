//! Objects without rows, and rows without objects.
//!
//! Both sides are walked together in the order of keys, so that millions of them take no memory. Both change meanwhile:
//! whatever seems to have no counterpart is looked at once more before it is told.

use std::{
    cmp::Ordering,
    collections::HashSet,
    fmt,
    io::{IsTerminal as _, Write as _},
    pin::pin,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::DatabaseConnection;
use serde::Serialize;
use shared::{
    clients::storage::{Object, Storage},
    clock::Clock,
    models::{
        pending_object,
        stored_object::{self, Owner},
    },
};

/// Rows read at once, and findings looked at once more together.
const BATCH: usize = 1000;
/// Objects asked for at once.
const ASKED_AT_ONCE: usize = 16;
const CANNOT_LIST: &str = "cannot list the storage";

/// What is told, and what is done.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Prints each finding as a line of JSON, and the counts as the last one
    #[arg(long)]
    pub json: bool,
    /// Deletes objects that no row names, once they are a day old
    #[arg(long)]
    pub delete_orphans: bool,
}

/// Something without its counterpart.
#[derive(Debug, Serialize)]
#[serde(
    tag = "finding",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
enum Finding {
    /// Whatever its age: an object on its way has a row of `pending_objects`.
    ObjectWithoutRow {
        key: String,
        size_bytes: u64,
        /// Since it was finished; none where the store does not tell.
        age_seconds: Option<i64>,
        deleted: bool,
    },
    RowWithoutObject {
        #[serde(flatten)]
        owner: Owner,
        key: String,
    },
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    objects: u64,
    rows: u64,
    objects_without_row: u64,
    rows_without_object: u64,
    deleted: u64,
}

struct Verify<'a> {
    db: &'a DatabaseConnection,
    storage: &'a Storage,
    args: &'a VerifyArgs,
    now: DateTime<Utc>,
    counts: Counts,
    bar: ProgressBar,
    strays: Vec<Object>,
    missing: Vec<(String, Owner)>,
}

/// Runs it, and tells whether anything was found.
///
/// # Errors
/// When the database or the storage cannot be read.
pub(super) async fn run(
    db: &DatabaseConnection,
    storage: &Storage,
    clock: &Clock,
    args: &VerifyArgs,
) -> anyhow::Result<bool> {
    let mut verify = Verify {
        db,
        storage,
        args,
        now: clock.now(),
        counts: Counts::default(),
        bar: progress_bar(args),
        strays: Vec::new(),
        missing: Vec::new(),
    };
    let compared = verify.compare().await;
    verify.bar.finish_and_clear();
    compared?;
    let counts = verify.counts;
    print(&counts, args)?;
    Ok(counts.objects_without_row + counts.rows_without_object > 0)
}

impl Verify<'_> {
    async fn compare(&mut self) -> anyhow::Result<()> {
        let mut objects = self.storage.list();
        let mut rows = pin!(rows(self.db));
        let mut object = objects.try_next().await.context(CANNOT_LIST)?;
        let mut row = rows.try_next().await?;
        // More likely the wrong database than a store of nothing but orphans.
        ensure!(
            row.is_some() || !self.args.delete_orphans,
            "the database names no objects at all; nothing is deleted"
        );
        loop {
            let order = match (&object, &row) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(object), Some((key, _))) => object.key.cmp(key),
            };
            if order.is_le() {
                let next = objects.try_next().await.context(CANNOT_LIST)?;
                let stray = std::mem::replace(&mut object, next);
                self.strays.extend(stray.filter(|_| order.is_lt()));
                self.counts.objects += 1;
            }
            if order.is_ge() {
                let next = rows.try_next().await?;
                let missing = std::mem::replace(&mut row, next);
                self.missing.extend(missing.filter(|_| order.is_gt()));
                self.counts.rows += 1;
            }
            self.bar
                .set_position(self.counts.objects.max(self.counts.rows));
            if self.strays.len().max(self.missing.len()) >= BATCH {
                self.look_again().await?;
            }
        }
        self.look_again().await
    }

    /// Tells what has no counterpart now either.
    async fn look_again(&mut self) -> anyhow::Result<()> {
        self.look_again_at_objects().await?;
        self.look_again_at_rows().await
    }

    async fn look_again_at_objects(&mut self) -> anyhow::Result<()> {
        let strays = std::mem::take(&mut self.strays);
        let keys = strays.iter().map(|object| object.key.clone()).collect();
        let forgotten: HashSet<String> = pending_object::find_forgotten(self.db, keys)
            .await?
            .into_iter()
            .collect();
        let storage = self.storage;
        let strays: Vec<Option<Object>> = stream::iter(strays)
            .filter(|object| future::ready(forgotten.contains(&object.key)))
            .map(|object| async move {
                // Its row may have been deleted since it was listed.
                anyhow::Ok(storage.exists(&object.key).await?.then_some(object))
            })
            .buffered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        for object in strays.into_iter().flatten() {
            let age = object.modified.map(|modified| self.now - modified);
            // Whoever the objects belong to has a day to notice, should this be the wrong database.
            let deleted = self.args.delete_orphans
                && age
                    .and_then(|age| age.to_std().ok())
                    .is_some_and(|age| age > pending_object::GRACE);
            if deleted {
                self.storage
                    .delete(&object.key)
                    .await
                    .with_context(|| format!("cannot delete {}", object.key))?;
                self.counts.deleted += 1;
            }
            self.counts.objects_without_row += 1;
            self.tell(&Finding::ObjectWithoutRow {
                key: object.key,
                size_bytes: object.size_bytes,
                age_seconds: age.map(|age| age.num_seconds()),
                deleted,
            })?;
        }
        Ok(())
    }

    async fn look_again_at_rows(&mut self) -> anyhow::Result<()> {
        let (db, storage) = (self.db, self.storage);
        let missing = std::mem::take(&mut self.missing);
        let missing: Vec<Option<(String, Owner)>> = stream::iter(missing)
            .map(|(key, owner)| async move {
                let is_missing =
                    stored_object::is_named(db, &key).await? && !storage.exists(&key).await?;
                anyhow::Ok(is_missing.then_some((key, owner)))
            })
            .buffered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        for (key, owner) in missing.into_iter().flatten() {
            self.counts.rows_without_object += 1;
            self.tell(&Finding::RowWithoutObject { owner, key })?;
        }
        Ok(())
    }

    fn tell(&self, finding: &Finding) -> anyhow::Result<()> {
        let line = if self.args.json {
            serde_json::to_string(finding)?
        } else {
            finding.to_string()
        };
        self.bar
            .suspend(|| writeln!(std::io::stdout().lock(), "{line}"))?;
        Ok(())
    }
}

/// Keys of all rows in their order, a page at a time.
fn rows(db: &DatabaseConnection) -> impl Stream<Item = anyhow::Result<(String, Owner)>> + use<'_> {
    stream::try_unfold(String::new(), move |after| async move {
        let page = stored_object::list(db, &after, BATCH as u64)
            .await
            .context("cannot read the rows")?;
        let last = page.last().map(|(key, _)| key.clone());
        anyhow::Ok(last.map(|last| (stream::iter(page.into_iter().map(Ok)), last)))
    })
    .try_flatten()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectWithoutRow {
                key,
                size_bytes,
                age_seconds,
                deleted,
            } => {
                let age = match age_seconds {
                    Some(seconds) => format!("{} h {} min old", seconds / 3600, seconds / 60 % 60),
                    None => "of unknown age".to_owned(),
                };
                let done = if *deleted { ", deleted" } else { "" };
                write!(
                    f,
                    "object without a row: {key} ({size_bytes} bytes, {age}){done}"
                )
            }
            Self::RowWithoutObject { owner, key } => {
                let (kind, id) = match owner {
                    Owner::AttachmentId(id) => ("attachment", id.0),
                    Owner::ExportId(id) => ("export", id.0),
                };
                write!(f, "row without its object: {kind} {id} ({key})")
            }
        }
    }
}

fn progress_bar(args: &VerifyArgs) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} compared, {per_sec}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn print(counts: &Counts, args: &VerifyArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(counts)?)?;
        return Ok(());
    }
    let Counts {
        objects,
        rows,
        objects_without_row,
        rows_without_object,
        deleted,
    } = counts;
    writeln!(
        out,
        "{objects} objects, {rows} rows: {objects_without_row} objects without a row, {rows_without_object} rows \
         without their object, {deleted} deleted"
    )?;
    Ok(())
}

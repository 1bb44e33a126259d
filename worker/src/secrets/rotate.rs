//! What is sealed under older keys goes under the current one, while the programs run.
//!
//! Each column is walked in the order of its table's keys, a page at a time. A row is written only where it is still what
//! was read: nobody's newer value is lost, and two walks at once, or one after another that broke off, do no harm. In the
//! end all rows are opened once more, as they are then, and only that says whether the older keys are needed.

use anyhow::Context as _;
use sea_orm::DatabaseConnection;
use serde::Serialize;
use shared::{
    database::{Error, Result},
    keyring::{self, Keyring},
    models::sealed::{self, Change, Column, Key, Locked},
};

/// Rows read and written at once; an answer that is repeated has up to 64 KiB.
const PAGE: u64 = 250;
/// How often a column is walked in which others change the very rows that are written. What is left then is told.
const PASSES: usize = 5;

/// What came of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Rows with something sealed, in the end.
    pub found: u64,
    /// Under the current key without our doing.
    pub already_current: u64,
    /// Sealed anew.
    pub rotated: u64,
    /// Under an older key: nothing was to be changed, or somebody has sealed them since.
    pub older: u64,
    /// Opened by no key that is configured.
    pub unreadable: u64,
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum News {
    /// So many more rows were looked at.
    Looked(Column, u64),
    /// A row cannot be opened.
    Unreadable(Column, Key, keyring::Error),
}

struct Rotation<'a> {
    db: &'a DatabaseConnection,
    keyring: &'a Keyring,
    hear: &'a mut dyn FnMut(News) -> anyhow::Result<()>,
}

/// Seals anew what is not under the current key, and opens everything. A dry run does the latter only.
///
/// A row that cannot be opened is told, and the others go on.
///
/// # Errors
/// When the database fails, or `hear` does; what is done by then stays done.
pub async fn rotate(
    db: &DatabaseConnection,
    keyring: &Keyring,
    dry_run: bool,
    hear: &mut dyn FnMut(News) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<(Column, Counts)>> {
    let mut rotation = Rotation { db, keyring, hear };
    let mut all = sealed::ALL.map(|column| (column, Counts::default()));
    if !dry_run {
        for (column, counts) in &mut all {
            let rotated = rotation.seal_anew(*column).await;
            counts.rotated = rotated.with_context(|| format!("cannot rotate {column}"))?;
        }
    }
    for (column, counts) in &mut all {
        let opened = rotation.open_all(*column, counts).await;
        opened.with_context(|| format!("cannot open {column}"))?;
    }
    Ok(all.to_vec())
}

impl Rotation<'_> {
    /// Seals the column anew, and tells how many rows that were.
    async fn seal_anew(&mut self, column: Column) -> anyhow::Result<u64> {
        let head = self.keyring.current_head();
        let mut rotated = 0;
        for _ in 0..PASSES {
            let (mut after, mut is_whole) = (None, true);
            loop {
                let page = column.list(self.db, Some(head.as_slice()), after.as_ref(), PAGE);
                let page = page.await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                (self.hear)(News::Looked(column, page.len() as u64))?;
                let mut changes = Vec::new();
                for row in page {
                    let Some(old) = row.sealed else { continue };
                    // What cannot be opened is told when all is opened.
                    if let Ok(Some(new)) = self.keyring.reseal(&column.place_of(&row.key), &old) {
                        changes.push(Change {
                            key: row.key,
                            old,
                            new,
                        });
                    }
                }
                let written = self.write(column, &changes).await?;
                is_whole &= written == changes.len();
                rotated += written as u64;
            }
            if is_whole {
                break;
            }
        }
        Ok(rotated)
    }

    /// Makes changes, and tells how many. Those that are not made meet rows that have changed or gone.
    async fn write(&self, column: Column, changes: &[Change]) -> Result<usize> {
        if changes.is_empty() {
            return Ok(0);
        }
        let written = column.replace(self.db, changes, Locked::Skip).await;
        let written = written.or_else(unless_busy)?;
        let mut count = written.len();
        for change in changes {
            if written.contains(&change.key) {
                continue;
            }
            // One at a time: whoever waits for one row only holds up nobody.
            let change = std::slice::from_ref(change);
            let written = column.replace(self.db, change, Locked::Wait).await;
            count += written.or_else(unless_busy)?.len();
        }
        Ok(count)
    }

    /// Opens all that the column has.
    async fn open_all(&mut self, column: Column, counts: &mut Counts) -> anyhow::Result<()> {
        let (mut after, mut current) = (None, 0);
        loop {
            let page = column.list(self.db, None, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            (self.hear)(News::Looked(column, page.len() as u64))?;
            for row in page {
                let sealed = row.sealed.unwrap_or_default();
                counts.found += 1;
                match self.keyring.open(&column.place_of(&row.key), &sealed) {
                    Ok(_) if self.keyring.is_current(&sealed) => current += 1,
                    Ok(_) => counts.older += 1,
                    Err(error) => {
                        counts.unreadable += 1;
                        (self.hear)(News::Unreadable(column, row.key, error))?;
                    }
                }
            }
        }
        counts.already_current = u64::saturating_sub(current, counts.rotated);
        Ok(())
    }
}

/// A row that is held for longer than a statement may take is looked at in the next pass.
fn unless_busy<T: Default>(error: Error) -> Result<T> {
    if matches!(error, Error::Unavailable(_)) && !error.is_away() {
        tracing::warn!(error = %error, "rows are held by somebody else; they are tried again");
        Ok(T::default())
    } else {
        Err(error)
    }
}

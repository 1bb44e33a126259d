//! What a rotation tells: how far it is, which rows cannot be opened, and what is to be done next.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shared::models::sealed::Column;

use super::{Counts, News, RotateArgs};

/// Between two lines of the log where nobody sees the bar.
const TELL_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Report {
    args: RotateArgs,
    bar: ProgressBar,
    looked: u64,
    told: Instant,
}

/// A row that cannot be opened.
#[derive(Debug, Serialize)]
#[serde(tag = "finding", rename = "unreadable")]
struct Unreadable {
    table: &'static str,
    column: &'static str,
    row: String,
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    dry_run: bool,
    /// Whether the previous keys are needed by nothing that is sealed.
    opens_with_current_key_alone: bool,
    columns: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    table: &'static str,
    column: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

impl Report {
    pub(super) fn new(args: &RotateArgs) -> Self {
        Self {
            args: args.clone(),
            bar: progress_bar(args),
            looked: 0,
            told: Instant::now(),
        }
    }

    /// Tells of what happens meanwhile.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn hear(&mut self, news: &News) -> anyhow::Result<()> {
        match news {
            News::Looked(column, rows) => {
                self.looked += rows;
                self.bar.set_message(column.to_string());
                self.bar.set_position(self.looked);
                let is_due = self.told.elapsed() >= TELL_EVERY;
                if is_due && self.bar.is_hidden() && !self.args.json {
                    self.told = Instant::now();
                    tracing::info!(%column, rows = self.looked, "{} rows looked at", self.looked);
                }
            }
            News::Unreadable(column, key, error) => {
                let line = if self.args.json {
                    serde_json::to_string(&Unreadable {
                        table: column.table,
                        column: column.name,
                        row: key.to_string(),
                        reason: error.to_string(),
                    })?
                } else {
                    format!("unreadable: {column} of {key}: {error}")
                };
                self.bar
                    .suspend(|| writeln!(std::io::stdout().lock(), "{line}"))?;
            }
        }
        Ok(())
    }

    /// Tells what came of it, and whether that is all one could wish for.
    ///
    /// # Errors
    /// What came of it, or when nothing can be written.
    pub(super) fn finish(
        self,
        counts: anyhow::Result<Vec<(Column, Counts)>>,
    ) -> anyhow::Result<bool> {
        self.bar.finish_and_clear();
        let columns = counts?;
        let older: u64 = columns.iter().map(|(_, counts)| counts.older).sum();
        let unreadable: u64 = columns.iter().map(|(_, counts)| counts.unreadable).sum();
        let dry_run = self.args.dry_run;
        let mut out = std::io::stdout().lock();
        if self.args.json {
            let lines = columns.into_iter().map(|(column, counts)| Line {
                table: column.table,
                column: column.name,
                counts,
            });
            let summary = Summary {
                dry_run,
                opens_with_current_key_alone: older + unreadable == 0,
                columns: lines.collect(),
            };
            writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        } else {
            writeln!(
                out,
                "{:<26} {:>9} {:>15} {:>9} {:>9} {:>10}",
                "column", "found", "already current", "rotated", "older", "unreadable"
            )?;
            for (column, counts) in columns {
                let Counts {
                    found,
                    already_current,
                    rotated,
                    older,
                    unreadable,
                } = counts;
                let column = column.to_string();
                writeln!(
                    out,
                    "{column:<26} {found:>9} {already_current:>15} {rotated:>9} {older:>9} {unreadable:>10}"
                )?;
            }
            writeln!(out, "{}", advice(dry_run, older, unreadable))?;
        }
        Ok(unreadable == 0 && (dry_run || older == 0))
    }
}

/// What is to be done next.
fn advice(dry_run: bool, older: u64, unreadable: u64) -> String {
    let mut advice = Vec::new();
    if older > 0 && dry_run {
        advice.push(format!(
            "{older} would be encrypted anew; nothing was changed"
        ));
    } else if older > 0 {
        advice.push(format!(
            "{older} are encrypted under an older key again: some program still has it as its SECRET_KEY. Restart all \
             with the new one, and rotate again"
        ));
    }
    if unreadable > 0 {
        advice.push(format!(
            "{unreadable} cannot be opened: where a key is missing, add it to SECRET_KEY_PREVIOUS and rotate again; what is \
             damaged must be made anew"
        ));
    }
    if advice.is_empty() {
        advice.push(
            "all of it opens with SECRET_KEY alone: SECRET_KEY_PREVIOUS may be emptied, a day after the last program got \
             the new SECRET_KEY, as signed URLs (an hour) and repeated requests (a day) are known by the key of their time"
                .to_owned(),
        );
    }
    advice.join("\n")
}

fn progress_bar(args: &RotateArgs) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}: {pos} rows looked at, {per_sec}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_keys_are_given_up_only_where_nothing_needs_them() {
        let may_be_emptied = |dry_run, older, unreadable| {
            advice(dry_run, older, unreadable).contains("SECRET_KEY_PREVIOUS may be emptied")
        };
        assert!(may_be_emptied(false, 0, 0) && may_be_emptied(true, 0, 0));
        for dry_run in [false, true] {
            assert!(!may_be_emptied(dry_run, 1, 0));
            assert!(!may_be_emptied(dry_run, 0, 1));
            assert_eq!(advice(dry_run, 1, 1).lines().count(), 2);
        }
    }
}

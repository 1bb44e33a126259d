//! Keeps answers that are made here, and ends those whose instance has died.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use shared::{
    database::{self, Origin, Tx},
    models::{
        conversation, generation,
        message::{self, Ended, Failure, Figures, Role, Status},
        usage::{self, Outcome, Purpose, Spent},
    },
    redis::Heard,
    tokens::TokenCounts,
};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ending::answer_usage, live::Stop, relay};
use crate::app::App;

/// How often leases are renewed, and texts stored: several times within a lease.
const KEEP: Duration = Duration::from_millis(400);
/// Most answers that are kept at once: whoever ends one meanwhile must do it by itself.
const MOST: usize = 100;
/// After trouble nobody is held for dead until everybody has had time to say otherwise: longer than a lease.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the end of an abandoned answer waits for what others hold: leases are not renewed meanwhile.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

/// Starts the tasks, which end with `end`.
///
/// # Errors
/// When Redis cannot be subscribed to.
pub(crate) fn start(app: &App, end: &CancellationToken) -> anyhow::Result<()> {
    let mut stops = app.redis.subscribe(&[app.redis.keys().stop_answer()])?;
    let hearing = app.clone();
    app.tasks
        .spawn(end.clone().run_until_cancelled_owned(async move {
            loop {
                // What is missed here is in Postgres.
                if let Heard::Message(_, ids) = stops.next().await {
                    for id in ids.split(',').filter_map(|id| id.parse().ok()) {
                        hearing.chat.live().stop(id, Stop::Cancelled);
                    }
                }
            }
        }));
    // A connection of its own: leases must not wait for requests.
    let db = database::connect(&app.config.common.database, Some(1), 1);
    let keeping = app.clone();
    app.tasks
        .spawn(end.clone().run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(KEEP);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut well_since = Instant::now();
            let mut last = Instant::now();
            let mut known = BTreeSet::new();
            loop {
                tick.tick().await;
                // This process may have been held up as long as the others may have been.
                let kept = keep(&keeping, &db, &mut known).await;
                if kept.is_err() || last.elapsed() > PATIENCE / 2 {
                    well_since = Instant::now();
                }
                last = Instant::now();
                let swept = match kept {
                    Ok(()) if well_since.elapsed() > PATIENCE => sweep(&keeping, &db).await,
                    kept => kept,
                };
                if let Err(error) = swept {
                    well_since = Instant::now();
                    tracing::debug!(error = %error, "answers could not be kept");
                }
            }
        }));
    Ok(())
}

/// Says that the answers of this instance are still made, and stores what was said of them. Those that were not `known`
/// the last time have just begun: most end before the next.
async fn keep(
    app: &App,
    db: &DatabaseConnection,
    known: &mut BTreeSet<Uuid>,
) -> database::Result<()> {
    let own: BTreeSet<Uuid> = app.chat.live().own().into_iter().collect();
    let due: Vec<Uuid> = own.intersection(known).copied().collect();
    *known = own;
    if due.is_empty() {
        // Whether others can say that they are there.
        return database::ping(db).await;
    }
    for due in due.chunks(MOST) {
        keep_some(app, db, due).await?;
    }
    Ok(())
}

async fn keep_some(app: &App, db: &DatabaseConnection, own: &[Uuid]) -> database::Result<()> {
    let live = app.chat.live();
    let unsaved = live.unsaved(own);
    let kept = match generation::keep(db, own, &unsaved).await {
        Ok(kept) => kept,
        Err(error) => {
            live.unsave(unsaved);
            return Err(error);
        }
    };
    let mut there = HashSet::new();
    let mut unsaved = unsaved;
    for kept in kept {
        there.insert(kept.id);
        if kept.is_kept {
            unsaved.retain(|one| one.id != kept.id);
        }
        if kept.is_cancelled {
            live.stop_making(kept.id, Stop::Cancelled);
        }
    }
    live.unsave(unsaved);
    for id in own.iter().filter(|id| !there.contains(id)) {
        // One that has ended meanwhile takes no notice.
        live.stop_making(*id, Stop::Lost);
    }
    Ok(())
}

/// Ends answers that nobody makes any more.
async fn sweep(app: &App, db: &DatabaseConnection) -> database::Result<()> {
    let begun = Instant::now();
    // The others wait until leases are renewed again.
    while begun.elapsed() < KEEP {
        let asked = Instant::now();
        let mut tx = Tx::begin(db, &app.redis, Origin::default()).await?;
        if asked.elapsed() > PATIENCE / 2 {
            // The database was away: others have not had time to say that they are there.
            return Err(database::Error::Unavailable(DbErr::Custom(
                "it was away".to_owned(),
            )));
        }
        tx.orm().execute_unprepared(LOCK_TIMEOUT).await?;
        let own = app.chat.live().own();
        let Some(id) = generation::find_abandoned(&mut tx, &own).await? else {
            return Ok(());
        };
        if let Err(error) = end_abandoned(app, tx, id).await {
            let error = anyhow::Error::new(error);
            tracing::warn!(error = %format!("{error:#}"), generation = %id, "an abandoned answer cannot be ended");
            // Leases are renewed before the next one is tried.
            return generation::postpone(db, id).await;
        }
    }
    Ok(())
}

async fn end_abandoned(app: &App, mut tx: Tx, id: Uuid) -> database::Result<()> {
    let Some(found) = generation::take(&mut tx, id).await? else {
        return Ok(());
    };
    let (message, length) = (found.message_id, found.text.len());
    let is_kept = found.conversation_id.is_some();
    end(app, &mut tx, found).await?;
    tx.commit().await?;
    if is_kept {
        relay::tell_end(app, message, id, length).await;
    }
    tracing::warn!(messageId = %message, "an answer was interrupted, as its instance has gone");
    Ok(())
}

async fn end(app: &App, tx: &mut Tx, found: generation::Model) -> database::Result<()> {
    let now = app.clock.now();
    let mut attempts = found.attempts.0;
    let took = (now - found.started_at).to_std().unwrap_or_default();
    if let Some(last) = attempts.last_mut().filter(|last| last.spent.is_none()) {
        let latency = (now - last.started_at).num_milliseconds();
        // What was said before it was asked to go on, or asked again after calls of tools, was paid for then.
        let begun = usize::try_from(found.begun_bytes).unwrap_or_default();
        let begun = begun.max(usize::try_from(last.begun_bytes).unwrap_or(usize::MAX));
        let said = found.text.get(begun..).unwrap_or_default().to_owned();
        let output = app.tokens.count_text(said).await;
        let measure = app.tokens.measure(&last.provider, &last.provider_model);
        last.spent = Some(Spent {
            outcome: Outcome::Interrupted,
            error: None,
            tokens: TokenCounts {
                input: last.input_tokens,
                output: measure.of_stored(output),
                ..TokenCounts::default()
            },
            is_estimated: true,
            reported_microusd: None,
            latency_ms: u32::try_from(latency).unwrap_or_default(),
            first_token_ms: None,
        });
    }
    let limits = &app.config.common.usage_limits;
    // What nobody keeps has no message that would be ended.
    let Some(conversation) = found.conversation_id else {
        let purpose = Purpose {
            user: Some(found.user_id),
            ..Purpose::default()
        };
        return usage::record(tx, limits, found.kind, purpose, &attempts).await;
    };
    let project = conversation::project_for_any_user(tx.orm(), conversation).await?;
    let purpose = Purpose {
        user: Some(found.user_id),
        project,
        conversation: Some(conversation),
        message: Some(found.message_id),
        attachment: None,
    };
    let ended = Ended {
        status: Status::Interrupted,
        token_count: app
            .tokens
            .count_message(Role::Assistant.as_str(), found.text.clone())
            .await,
        text: found.text,
        provider: attempts.last().map(|last| last.provider.clone()),
        finish_reason: None,
        error: Some(Failure {
            code: "interrupted".to_owned(),
            detail: "the server went away before the answer ended".to_owned(),
            retry_after_ms: None,
            provider_status: None,
        }),
        // What an answer that was gone on with cost before stays; all of it is in the ledger.
        figures: (found.begun_bytes == 0).then(|| Figures {
            usage: answer_usage(&attempts, took, Duration::ZERO),
            context: message::AnswerContext::default(),
        }),
    };
    let user = found.user_id;
    message::end_answer(tx, user, conversation, found.message_id, ended, now).await?;
    usage::record(tx, limits, found.kind, purpose, &attempts).await
}

//! The branch before a question, from Redis or from Postgres, and what of it is sent.

use shared::{
    context::{Asked, Branch, Earlier, Frames, Limits, Plan, Told, cache, count, plan},
    database::Result,
    ids::{ConversationId, MessageId, UserId},
    models::{message, summary},
    tokens::Measure,
};

use super::shown::{Pictures, Shown, Texts, show};
use crate::app::App;

/// Most tokens of the texts of an earlier message's attachments.
const MOST_FOR_EARLIER: u32 = 2_000;

/// What a branch is wanted for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Whose conversation it is.
    pub(super) user: UserId,
    pub(super) conversation: ConversationId,
    /// Where the branch ends; none before the first message.
    pub(super) leaf: Option<MessageId>,
    /// The stamp of the conversation.
    pub(super) stamp: i64,
    pub(super) limits: Limits,
    /// How the model counts.
    pub(super) measure: Measure,
    /// Tokens of the instructions.
    pub(super) system: Option<u32>,
    /// Tokens of the question with all that belongs to it.
    pub(super) question: Option<u32>,
}

/// What of a branch is sent.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    pub(super) branch: Branch,
    /// What is sent of attachments: of the newest messages, newest first, as far as they may be sent.
    pub(super) shown: Vec<Shown>,
    pub(super) plan: Plan,
    /// Whether it came from Redis.
    pub(super) is_cached: bool,
    /// Whether all of it is what it will be.
    pub(super) is_settled: bool,
}

/// Finds what of a branch is sent.
///
/// # Errors
/// As the database fails.
pub(super) async fn assemble(
    app: &App,
    wanted: &Wanted,
    mut pictures: Option<&mut Pictures>,
) -> Result<Assembly> {
    let found = find(app, wanted).await?;
    let mut branch = found.branch;
    // Everything is planned in tokens as they are stored.
    let limits = Limits {
        tokens: wanted.measure.stored_of(wanted.limits.tokens),
        ..wanted.limits
    };
    let needed = [wanted.system, wanted.question].into_iter().flatten();
    let mut room = needed.fold(limits.tokens, u32::saturating_sub);
    let mut shown = Vec::with_capacity(branch.earlier.len());
    for one in &mut branch.earlier {
        // Nothing older can be sent.
        if room == 0 {
            break;
        }
        let pictures = pictures.as_deref_mut();
        let extra = show_earlier(app, wanted.user, one, pictures).await?;
        let tokens = count::of_stored(one.tokens).saturating_add(extra.tokens);
        room = room.saturating_sub(tokens);
        shown.push(extra);
    }
    let extra: Vec<u32> = shown.iter().map(|one: &Shown| one.tokens).collect();
    let sizes = branch.sizes(&extra);
    let plan = plan(&Asked {
        limits,
        system: wanted.system,
        question: wanted.question,
        earlier: &sizes,
        is_whole: branch.is_whole(),
        summary: branch.summary_size(),
    });
    Ok(Assembly {
        branch,
        shown,
        plan,
        is_cached: found.is_cached,
        is_settled: found.is_settled,
    })
}

struct Found {
    branch: Branch,
    is_cached: bool,
    is_settled: bool,
}

async fn find(app: &App, wanted: &Wanted) -> Result<Found> {
    let Wanted {
        conversation,
        stamp,
        limits,
        ..
    } = *wanted;
    let Some(leaf) = wanted.leaf else {
        return Ok(Found {
            branch: Branch::default(),
            is_cached: false,
            is_settled: true,
        });
    };
    if let Some(branch) = cache::get(&app.redis, conversation, stamp, limits, leaf).await {
        return Ok(Found {
            branch,
            is_cached: true,
            is_settled: true,
        });
    }
    let climbed = message::climb(&app.db, conversation, leaf, limits.messages).await?;
    let told = match climbed.anchor {
        Some((since, anchor)) => summary::find(&app.db, conversation, anchor)
            .await?
            .map(|row| (row.message_count, Told::of(row, since))),
        None => None,
    };
    let steps = u32::try_from(climbed.steps.len()).unwrap_or(u32::MAX);
    let total = told.as_ref().map_or(steps, |(before, told)| {
        told.since
            .saturating_add(u32::try_from(*before).unwrap_or(u32::MAX))
    });
    let mut used: u64 = 0;
    let ids: Vec<MessageId> = climbed
        .steps
        .iter()
        .take(limits.messages as usize)
        .take_while(|step| {
            let may_fit = used < u64::from(limits.tokens);
            used += u64::from(count::of_stored(step.token_count));
            may_fit
        })
        .map(|step| step.id)
        .collect();
    let rows = message::find_said(&app.db, conversation, &ids).await?;
    let branch = Branch {
        leaf: Some(leaf),
        earlier: ids
            .iter()
            .filter_map(|id| rows.get(id))
            .map(Earlier::of)
            .collect(),
        total,
        summary: told.map(|(_, told)| told),
    };
    Ok(Found {
        branch: branch.trimmed(limits),
        is_cached: false,
        is_settled: !climbed.is_streaming,
    })
}

/// Finds what is sent of the attachments of an earlier message, and keeps it with the message if it does not change any more.
async fn show_earlier(
    app: &App,
    user: UserId,
    one: &mut Earlier,
    pictures: Option<&mut Pictures>,
) -> Result<Shown> {
    if let Some(frames) = &one.frames {
        return Ok(Shown {
            texts: frames.texts.clone(),
            tokens: count::of_stored(frames.tokens),
            ..Shown::default()
        });
    }
    let wanted = Texts::Present(MOST_FOR_EARLIER);
    let shown = show(app, user, &one.attachments, pictures, wanted).await?;
    if shown.is_settled {
        one.frames = Some(Frames {
            texts: shown.texts.clone(),
            tokens: i32::try_from(shown.tokens).unwrap_or(i32::MAX),
        });
    }
    Ok(shown)
}

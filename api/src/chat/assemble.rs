//! The branch before a question, from Redis or from Postgres, and what of it is sent.

use shared::{
    context::{Asked, At, Branch, Earlier, Frames, LAST, Limits, Plan, Told, cache, count, plan},
    database::Result,
    ids::{AttachmentId, ConversationId, MessageId, UserId},
    models::{
        message::{self, Climbed, Step},
        summary,
    },
    tokens::Measure,
};

use super::shown::{Known, Pictures, Shown, look, show_earlier};
use crate::app::App;

/// Most tokens of the texts of an earlier message's attachments.
const MOST_FOR_EARLIER: u32 = 2_000;
/// Most attachments of earlier messages that are looked for, the newest of those that are not kept with their messages. What
/// is shown of others is looked for after the next question.
const MOST_LOOKED_FOR: usize = 100;

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
    /// Whether the model has tools: only then it is shown what came of earlier calls of them.
    pub(super) with_tools: bool,
    /// Tokens that are left free of what may be sent, as they are stored.
    pub(super) reserved: u32,
}

/// What of a branch is sent.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    pub(super) branch: Branch,
    /// What is sent of attachments: of the newest messages, newest first, as far as they may be sent.
    pub(super) shown: Vec<Shown>,
    /// The messages that may be sent: what the plan's places are places of.
    pub(super) places: Vec<At>,
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
    let most = wanted.measure.stored_of(wanted.limits.tokens);
    let limits = Limits {
        tokens: most.saturating_sub(wanted.reserved),
        ..wanted.limits
    };
    let needed = [wanted.system, wanted.question].into_iter().flatten();
    let mut room = needed.fold(limits.tokens, u32::saturating_sub);
    let unsettled = unsettled(&branch, pictures.is_some());
    let known = look(app, wanted.user, &unsettled).await?;
    let mut shown = Vec::with_capacity(branch.earlier.len());
    for (place, one) in branch.earlier.iter_mut().enumerate() {
        // Nothing older can be sent.
        if room == 0 && place >= LAST {
            break;
        }
        let extra = extra(app, &known, one, pictures.as_deref_mut()).await?;
        let tokens = count::of_stored(one.tokens).saturating_add(extra.tokens);
        room = room.saturating_sub(tokens);
        if wanted.with_tools {
            let of_tools = one.tools.iter().map(|said| count::of_stored(said.tokens));
            room = of_tools.fold(room, u32::saturating_sub);
        }
        shown.push(extra);
    }
    let extra: Vec<u32> = shown.iter().map(|one: &Shown| one.tokens).collect();
    let places = branch.places(wanted.with_tools);
    let sizes = branch.sizes(&places, &extra);
    let plan = plan(&Asked {
        limits,
        system: wanted.system,
        question: wanted.question,
        earlier: &sizes,
        is_whole: branch.is_whole(),
        summary: branch.summary_size(&places),
    });
    Ok(Assembly {
        branch,
        shown,
        places,
        plan,
        is_cached: found.is_cached,
        is_settled: found.is_settled,
    })
}

impl Assembly {
    /// How many of the branch's messages, the newest, are sent.
    pub(super) fn reached(&self) -> usize {
        let reached = self.places.iter().take(self.plan.reached);
        reached.filter(|at| at.tool.is_none()).count()
    }
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
    let (climbed, told) = climb(app, conversation, leaf, limits).await?;
    let steps = u32::try_from(climbed.steps.len()).unwrap_or(u32::MAX);
    // Of messages before a way that was too long nobody knows more than that there are some.
    let steps = steps.saturating_add(climbed.is_cut.into());
    let total = told.as_ref().map_or(steps, |(before, told)| {
        told.since
            .saturating_add(u32::try_from(*before).unwrap_or(u32::MAX))
    });
    let branch = Branch {
        leaf: Some(leaf),
        earlier: load(app, conversation, &climbed, limits).await?,
        total,
        summary: told.map(|(_, told)| told),
    };
    Ok(Found {
        branch: branch.trimmed(limits),
        is_cached: false,
        is_settled: !climbed.is_streaming,
    })
}

/// Climbs up the branch, and finds the summary of what was said before, with the number of messages that it tells of.
async fn climb(
    app: &App,
    conversation: ConversationId,
    leaf: MessageId,
    limits: Limits,
) -> Result<(Climbed, Option<(i64, Told)>)> {
    loop {
        let climbed = message::climb(&app.db, conversation, leaf, limits.messages).await?;
        let Some((since, anchor)) = climbed.anchor else {
            return Ok((climbed, None));
        };
        // One that was removed meanwhile tells of nothing, and what it told of was not climbed.
        if let Some(row) = summary::find(&app.db, conversation, anchor).await? {
            return Ok((climbed, Some((row.message_count, Told::of(row, since)))));
        }
    }
}

/// Loads what of a branch may be sent, newest first.
async fn load(
    app: &App,
    conversation: ConversationId,
    climbed: &Climbed,
    limits: Limits,
) -> Result<Vec<Earlier>> {
    let steps = &climbed.steps;
    let tokens = steps.iter().map(|step| count::of_stored(step.token_count));
    let reach = limits.reach(tokens);
    let sizes = steps.iter().map(|step| {
        let tools = of_tools(climbed, step.id).map(|said| count::of_stored(said.token_count));
        (count::of_stored(step.token_count), tools)
    });
    let reach_of_tools = limits.reach_of_tools(sizes).min(reach);
    let mut ids: Vec<MessageId> = steps[..reach].iter().map(|step| step.id).collect();
    let tools = steps[..reach_of_tools].iter();
    ids.extend(tools.flat_map(|step| of_tools(climbed, step.id).map(|said| said.id)));
    let rows = message::find_said(&app.db, conversation, &ids).await?;
    let mut earlier = Vec::with_capacity(reach);
    for row in ids[..reach].iter().filter_map(|id| rows.get(id)) {
        let tools = of_tools(climbed, row.id).filter_map(|said| rows.get(&said.id));
        earlier.push(Earlier::of(row).with_tools(tools));
    }
    Ok(earlier)
}

/// What was asked of tools for an answer, and what they said, newest first.
fn of_tools(climbed: &Climbed, answer: MessageId) -> impl Iterator<Item = &Step> {
    climbed.exchanges.get(&answer).into_iter().flatten()
}

/// The attachments of which it is not kept what is sent of them, of the newest messages first.
fn unsettled(branch: &Branch, sees_pictures: bool) -> Vec<AttachmentId> {
    let unsettled = branch
        .earlier
        .iter()
        .filter(|one| one.settled(sees_pictures).is_none())
        .flat_map(|one| &one.attachments);
    unsettled.copied().take(MOST_LOOKED_FOR).collect()
}

/// Finds what is sent of the attachments of an earlier message, and keeps it with the message if it does not change any more.
async fn extra(
    app: &App,
    known: &Known,
    one: &mut Earlier,
    pictures: Option<&mut Pictures>,
) -> Result<Shown> {
    if let Some(frames) = one.settled(pictures.is_some()) {
        return Ok(Shown {
            texts: frames.texts.clone(),
            tokens: count::of_stored(frames.tokens),
            ..Shown::default()
        });
    }
    let shown = show_earlier(app, known, &one.attachments, pictures, MOST_FOR_EARLIER).await?;
    if shown.is_settled {
        one.frames = Some(Frames {
            texts: shown.texts.clone(),
            tokens: i32::try_from(shown.tokens).unwrap_or(i32::MAX),
            is_blind: shown.is_blind,
        });
    }
    Ok(shown)
}

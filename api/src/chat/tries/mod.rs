//! Asking those who have a model, one after the other, until one answers; whatever comes of it, each try is accounted for and
//! told to the pools. Answers of conversations are made with it, and those that nobody keeps (`direct`).

mod asking;
mod reading;

use shared::{
    clients::chat::{AnswerError, AskError, Ending, Limit, Piece, Prompt},
    ids::MessageId,
    models::usage::Attempt,
    providers::Picked,
};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::live::Speaker;
use crate::app::App;

/// How providers are asked for one answer, and what they said.
pub(super) struct Tries {
    pub(super) app: App,
    /// The answer, as it is known here.
    pub(super) answer: MessageId,
    /// This making of it.
    pub(super) id: Uuid,
    pub(super) speaker: Speaker,
    /// Who hears all of it as it comes, and not only its words.
    pub(super) hearer: Option<mpsc::UnboundedSender<Piece>>,
    /// What was asked of providers so far.
    pub(super) attempts: Vec<Attempt>,
    /// Tokens of what is asked, as they are stored: before the factor of any model.
    pub(super) stored_tokens: u32,
    /// The same; nothing where pictures are shown or tools are told of, of which nobody can tell what they take.
    pub(super) estimated: Option<u32>,
    /// Whether it costs what the table says.
    pub(super) is_priced: bool,
    /// When the provider that is asked now was asked, and the time of its first word.
    pub(super) asking: Option<(Instant, Option<Instant>)>,
    /// The key that was picked before the answer was begun.
    pub(super) first: Option<Picked>,
    /// Whether the first attempt is stored already.
    pub(super) is_noted: bool,
    /// The key that is used now.
    pub(super) using: Option<Picked>,
    /// What the model thought for the attempt, and asked tools for.
    pub(super) thoughts: String,
    /// Bytes that were said before the provider was asked this time: it is asked again after calls of tools.
    pub(super) round: usize,
    /// How often it was asked before, and has answered.
    pub(super) number: u32,
    /// Whether what is said next begins a paragraph.
    pub(super) needs_break: bool,
}

/// Something that a provider is asked.
pub(super) trait Question: Send + Sync {
    /// What it answers.
    type Answer: Send;

    /// Names the model as the next provider does.
    fn name(&mut self, model: &str);

    /// Asks a provider, and reads what it answers. The attempt is closed, unless the provider refuses. Once an answer has begun,
    /// it is not put again.
    fn put(
        &mut self,
        tries: &mut Tries,
        picked: &Picked,
    ) -> impl Future<Output = Result<Self::Answer, NoAnswer>> + Send;
}

/// Why a provider has not answered.
pub(super) enum NoAnswer {
    /// It said so before it began.
    Refused(AskError),
    /// It broke off.
    Broken(AnswerError),
}

/// What came of a call.
enum CameTo {
    Answered,
    Failed,
    Limited(Limit),
    Retired(String),
    Nothing,
}

impl Question for Prompt {
    type Answer = Ending;

    fn name(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    async fn put(&mut self, tries: &mut Tries, picked: &Picked) -> Result<Ending, NoAnswer> {
        let models = tries.app.chat.models().clone();
        let asked = models.ask(picked.provider(), picked.secret(), self).await;
        tries.read_asked(asked, picked, || {}).await
    }
}

impl Tries {
    /// Nothing was asked yet.
    pub(super) fn new(app: &App, answer: MessageId, id: Uuid, speaker: Speaker) -> Self {
        Self {
            app: app.clone(),
            answer,
            id,
            round: speaker.len(),
            speaker,
            hearer: None,
            attempts: Vec::new(),
            stored_tokens: 0,
            estimated: None,
            is_priced: true,
            asking: None,
            first: None,
            is_noted: false,
            using: None,
            thoughts: String::new(),
            number: 0,
            needs_break: false,
        }
    }

    /// Tells what came of a call, also where this answer is stopped meanwhile.
    async fn tell(&mut self, picked: &Picked, came_to: CameTo) {
        let (providers, picked) = (self.app.providers.clone(), picked.clone());
        let telling = async move {
            match came_to {
                CameTo::Answered => providers.completed(&picked).await,
                CameTo::Failed => providers.failed(&picked).await,
                CameTo::Limited(limit) => providers.limited(&picked, limit).await,
                CameTo::Retired(reason) => providers.retired(&picked, reason).await,
                CameTo::Nothing => providers.end_probe(&picked).await,
            }
        };
        let told = self.app.tasks.spawn(telling);
        self.using = None;
        _ = told.await;
    }

    /// Tells that the provider has answered to the end.
    pub(super) async fn tell_answered(&mut self, picked: &Picked) {
        self.tell(picked, CameTo::Answered).await;
    }

    /// Whether anything was said since the provider was asked.
    fn is_begun(&self) -> bool {
        self.speaker.len() > self.round
    }
}

//! Writes what was asked of providers into the ledger, whether or not its client is still there. Each call is noted before, so
//! that it is accounted for after a kill, too.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use shared::{
    catalogue::AudioPrice,
    clients::transcriber::{Asked, Came, Told},
    database,
    ids::{UsageId, UserId},
    models::{
        message::AnswerUsage,
        usage::{Hearing, Outcome, Purpose},
    },
};

use crate::app::App;

/// What was asked for one request.
pub(super) struct Ledger {
    app: App,
    purpose: Purpose,
    calls: AtomicI32,
    made: Made,
}

/// Calls that have ended.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Vec<Hearing>>>);

impl Ledger {
    pub(super) fn new(app: &App, user: UserId) -> Self {
        Self {
            app: app.clone(),
            purpose: Purpose {
                user: Some(user),
                ..Purpose::default()
            },
            calls: AtomicI32::new(0),
            made: Made::default(),
        }
    }

    /// Notes a call, and gives who writes down what came of it.
    ///
    /// # Errors
    /// As the database fails; then it must not be made.
    pub(super) async fn note(&self, asked: Asked) -> database::Result<Told> {
        let number = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
        let catalogue = &self.app.config.common.ai.catalogue;
        let price = catalogue.audio_price(&asked.provider, &asked.model);
        let price = price.map(|price| (catalogue.version.clone(), price));
        let (id, purpose) = (UsageId::new(), self.purpose);
        let lost = hearing(id, number, price.clone(), asked, Outcome::Interrupted);
        let noted = self.app.ledger.note_request(lost.row(purpose)).await?;
        let made = self.made.clone();
        Ok(Box::new(move |asked| {
            // Nobody waits for it where its client has gone.
            let hearing = hearing(id, number, price, asked, Outcome::Cancelled);
            noted.write(hearing.row(purpose));
            made.all().push(hearing);
        }))
    }

    /// What all calls took.
    pub(super) fn usage(&self, took: Duration) -> AnswerUsage {
        let made = self.made.all();
        let waited: f64 = made.iter().map(|one| f64::from(one.latency_ms)).sum();
        let overhead = (took.as_secs_f64() * 1_000.0 - waited).max(0.0);
        AnswerUsage {
            cost_microusd: made.iter().map(Hearing::cost_microusd).sum(),
            attempts: u32::try_from(made.len()).unwrap_or(u32::MAX),
            overhead_ms: (overhead * 10.0).round() / 10.0,
            ..AnswerUsage::default()
        }
    }
}

impl Made {
    fn all(&self) -> MutexGuard<'_, Vec<Hearing>> {
        self.0
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

/// A call, as it goes into the ledger; `left` is what came of one that nobody waits for.
fn hearing(
    id: UsageId,
    number: i32,
    price: Option<(String, AudioPrice)>,
    asked: Asked,
    left: Outcome,
) -> Hearing {
    let (outcome, error) = match asked.came {
        Came::Heard => (Outcome::Completed, None),
        Came::Failed(reason) => (Outcome::Failed, Some(reason)),
        Came::Left => (left, None),
    };
    Hearing {
        id,
        number,
        price,
        provider: asked.provider,
        model: asked.model,
        key_group: asked.key_group,
        audio_ms: asked.audio_ms,
        is_guessed: asked.is_guessed,
        started_at: asked.at,
        outcome,
        error,
        is_refused: asked.is_refused,
        latency_ms: u32::try_from(asked.took.as_millis()).unwrap_or(u32::MAX),
    }
}

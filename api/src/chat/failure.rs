//! Why an answer was not made, as its user is told.

use std::time::Duration;

use shared::{
    clients::chat::{AnswerError, AskError},
    models::message::Failure,
    providers::NotNow,
};

/// Why nobody answered so far.
#[derive(Default)]
pub(super) struct Unanswered {
    last: Option<Failure>,
    /// A failure that may pass by itself.
    pub(super) may_heal: bool,
    /// When the first of those who are asked too often may be asked again.
    exhausted: Option<Duration>,
    /// When the first of those who failed too often may be asked again.
    open: Option<Duration>,
}

impl Unanswered {
    pub(super) fn failed(&mut self, failure: Failure) {
        self.last = Some(failure);
        self.may_heal = true;
    }

    pub(super) fn refused(&mut self, failure: Failure) {
        self.last.get_or_insert(failure);
    }

    pub(super) fn not_now(&mut self, why: NotNow) {
        let (known, wait) = match why {
            NotNow::Exhausted(wait) => (&mut self.exhausted, wait),
            NotNow::Open(wait) => (&mut self.open, wait),
            NotNow::NoKey => return,
        };
        *known = Some(known.map_or(wait, |known| known.min(wait)));
    }

    pub(super) fn failure(self) -> Failure {
        let wait = match (self.exhausted, self.open) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let told = match (self.may_heal, self.exhausted, self.open, self.last) {
            (false, Some(_), _, _) => failure(
                "provider_rate_limited",
                "all providers are asked too often now",
            ),
            (_, _, _, Some(last)) => last,
            (_, _, Some(_), None) => failure(
                "provider_unavailable",
                "the providers have failed too often, and are left alone for a moment",
            ),
            (_, _, None, None) => failure("provider_failed", "no provider could be asked"),
        };
        let millis = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Failure {
            retry_after_ms: millis,
            ..told
        }
    }
}

/// What a user is told: who failed, and not what it said of the operator's account.
pub(super) fn ask_failure(name: &str, error: &AskError) -> Failure {
    let told = match error {
        AskError::Key { .. } | AskError::Barred { .. } => {
            failure("provider_failed", format!("{name} refuses our key"))
        }
        AskError::Limited { .. } => failure(
            "provider_rate_limited",
            format!("{name} is asked too often now"),
        ),
        AskError::Unavailable { .. } => {
            failure("provider_failed", format!("{name} is not available"))
        }
        // What is wrong with a question its user may know; all else is the operator's.
        AskError::Refused {
            status: 400 | 422,
            reason,
        } => failure(
            "provider_refused",
            format!("{name} does not take the question: {}", scrub(reason)),
        ),
        AskError::Refused { status: 413, .. } => failure(
            "provider_refused",
            format!("{name} does not take the question: it is too large"),
        ),
        AskError::Refused { .. } => failure(
            "provider_refused",
            format!("{name} does not take the question"),
        ),
    };
    let provider_status = match error {
        AskError::Key { status, .. }
        | AskError::Barred { status, .. }
        | AskError::Refused { status, .. } => Some(*status),
        _ => None,
    };
    Failure {
        provider_status,
        ..told
    }
}

/// Why there is not more of an answer that its user has stopped.
pub(super) fn stopped() -> Failure {
    failure("answer_stopped", "the answer was stopped")
}

/// Without the names of accounts.
pub(crate) fn scrub(reason: &str) -> String {
    let is_account = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        let marks = ["org-", "org_", "proj_", "proj-", "projects/", "sk-", "gsk_"];
        marks.iter().any(|mark| word.starts_with(mark))
    };
    let words = reason.split(' ');
    words
        .map(|word| if is_account(word) { "…" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn answer_failure(name: &str, error: &AnswerError) -> Failure {
    let told = match error {
        AnswerError::Said(..) => "it gave up".to_owned(),
        AnswerError::Unreadable(_) => "what it said cannot be read".to_owned(),
        AnswerError::Cut
        | AnswerError::Silent(_)
        | AnswerError::TooLong
        | AnswerError::Unwanted(_) => error.to_string(),
    };
    failure("provider_failed", format!("{name}: {told}"))
}

/// Words a failure.
pub(super) fn failure(code: &str, detail: impl Into<String>) -> Failure {
    Failure {
        code: code.to_owned(),
        detail: detail.into(),
        retry_after_ms: None,
        provider_status: None,
    }
}

//! Answers that are being made, as this instance knows them: those that it makes, and those of others that somebody reads
//! here.
//!
//! A reader takes what was said since it last looked, at its own pace: a slow one gets more at once, and holds up nobody.
//! A place in an answer is the number of its bytes so far, so any piece can be found again in the text that is stored; what
//! tools did there is counted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use shared::{
    ids::MessageId,
    models::{generation::Unsaved, message, usage::Attempt},
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    told::{At, Listener, Noted, Told},
    tools::dto::ToolNote,
};

/// The answers; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<Mutex<BTreeMap<MessageId, Entry>>>);

struct Entry {
    told: watch::Sender<Told>,
    /// Only where it is made here.
    making: Option<Making>,
}

/// An answer that is made here.
struct Making {
    id: Uuid,
    /// Why it should be stopped.
    stop: watch::Sender<Option<Stop>>,
    /// Bytes of it that are stored.
    saved: usize,
    /// What was asked of providers for it, if that is not stored.
    attempts: Option<Vec<Attempt>>,
}

/// Why an answer is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its user wants it.
    Cancelled,
    /// The program ends.
    Interrupted,
    /// Another instance has ended it.
    Lost,
}

/// Says an answer. Once it is dropped, nobody finds it here any more.
pub(super) struct Speaker {
    live: Live,
    id: MessageId,
    told: watch::Sender<Told>,
}

impl Live {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<MessageId, Entry>> {
        self.0
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// Begins an answer that is made here, after what was said before.
    pub(super) fn begin(
        &self,
        message: MessageId,
        making: Uuid,
        text: String,
    ) -> (Speaker, watch::Receiver<Option<Stop>>) {
        let (stop, stopped) = watch::channel(None);
        let making = Making {
            id: making,
            stop,
            saved: text.len(),
            attempts: None,
        };
        let told = Told {
            ends: (!text.is_empty())
                .then_some(text.len())
                .into_iter()
                .collect(),
            text,
            notes: Vec::new(),
            end: None,
        };
        let (told, _) = watch::channel(told);
        let entry = Entry {
            told: told.clone(),
            making: Some(making),
        };
        self.answers().insert(message, entry);
        let speaker = Speaker {
            live: self.clone(),
            id: message,
            told,
        };
        (speaker, stopped)
    }

    /// Hears an answer that is known here, from a place on.
    pub(super) fn listen(&self, id: MessageId, at: At) -> Option<Listener> {
        let told = self.answers().get(&id)?.told.subscribe();
        Some(Listener::new(told, at))
    }

    /// Hears an answer of another instance, from a place on. Whoever is the first to do so gets a speaker, and must
    /// repeat what is said elsewhere.
    pub(super) fn repeat(&self, id: MessageId, at: At) -> (Listener, Option<Speaker>) {
        let mut answers = self.answers();
        if let Some(entry) = answers.get(&id) {
            let told = entry.told.subscribe();
            return (Listener::new(told, at), None);
        }
        let (told, receiver) = watch::channel(Told::default());
        let entry = Entry {
            told: told.clone(),
            making: None,
        };
        answers.insert(id, entry);
        drop(answers);
        let speaker = Speaker {
            live: self.clone(),
            id,
            told,
        };
        (Listener::new(receiver, at), Some(speaker))
    }

    /// Stops an answer that is made here; tells whether it is.
    pub(super) fn stop(&self, message: MessageId, why: Stop) -> bool {
        let answers = self.answers();
        let making = answers
            .get(&message)
            .and_then(|entry| entry.making.as_ref());
        making.is_some_and(|making| {
            making.stop(why);
            true
        })
    }

    /// Stops one making of an answer, if it is made here.
    pub(super) fn stop_making(&self, id: Uuid, why: Stop) {
        for making in self
            .answers()
            .values()
            .filter_map(|entry| entry.making.as_ref())
        {
            if making.id == id {
                making.stop(why);
            }
        }
    }

    /// Stops all answers that are made here, and tells how many there are.
    pub(super) fn stop_all(&self, why: Stop) -> usize {
        let answers = self.answers();
        let makings = answers.values().filter_map(|entry| entry.making.as_ref());
        makings.map(|making| making.stop(why)).count()
    }

    /// Those that are made here.
    pub(super) fn own(&self) -> Vec<Uuid> {
        let answers = self.answers();
        let makings = answers.values().filter_map(|entry| entry.making.as_ref());
        makings.map(|making| making.id).collect()
    }

    /// Whether an answer is made here.
    pub(super) fn is_own(&self, message: MessageId) -> bool {
        self.answers()
            .get(&message)
            .is_some_and(|entry| entry.making.is_some())
    }

    /// Notes what is asked of providers for an answer that is made here.
    pub(super) fn note(&self, message: MessageId, attempts: &[Attempt]) {
        let mut answers = self.answers();
        if let Some(making) = answers
            .get_mut(&message)
            .and_then(|entry| entry.making.as_mut())
        {
            making.attempts = Some(attempts.to_vec());
        }
    }

    /// What is said and asked here of some answers and not stored yet. It counts as stored from now on.
    pub(super) fn unsaved(&self, of: &[Uuid]) -> Vec<Unsaved> {
        let mut unsaved = Vec::new();
        for entry in self.answers().values_mut() {
            let Some(making) = entry
                .making
                .as_mut()
                .filter(|making| of.contains(&making.id))
            else {
                continue;
            };
            let told = entry.told.borrow();
            if told.text.len() > making.saved || making.attempts.is_some() {
                making.saved = told.text.len();
                unsaved.push(Unsaved {
                    id: making.id,
                    text: told.text.clone(),
                    attempts: making.attempts.take(),
                });
            }
        }
        unsaved
    }

    /// Takes back that something is stored.
    pub(super) fn unsave(&self, unsaved: Vec<Unsaved>) {
        let mut answers = self.answers();
        for one in unsaved {
            let mut makings = answers
                .values_mut()
                .filter_map(|entry| entry.making.as_mut());
            if let Some(making) = makings.find(|making| making.id == one.id) {
                making.saved = 0;
                if making.attempts.is_none() {
                    making.attempts = one.attempts;
                }
            }
        }
    }
}

impl Making {
    /// The first reason stays.
    fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(why);
            is_first
        });
    }
}

impl Speaker {
    /// Says more.
    pub(super) fn say(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.told.send_modify(|told| {
            told.text.push_str(text);
            told.ends.push(told.text.len());
        });
    }

    /// Tells what a tool does.
    pub(super) fn note(&self, note: ToolNote) {
        self.told.send_modify(|told| told.note(note));
    }

    /// Tells what a tool did, as it was told elsewhere: once, and only where what was said before it is known.
    pub(super) fn repeat(&self, noted: Noted) {
        self.told.send_if_modified(|told| told.repeat(noted));
    }

    /// The place up to which it is told.
    pub(super) fn at(&self) -> At {
        self.told.borrow().at()
    }

    /// Everything that was said.
    pub(super) fn text(&self) -> String {
        self.told.borrow().text.clone()
    }

    /// Bytes of everything that was said.
    pub(super) fn len(&self) -> usize {
        self.told.borrow().text.len()
    }

    /// Says that it is over.
    pub(super) fn end(self, row: message::Model) {
        self.told.send_modify(|told| told.end = Some(Arc::new(row)));
    }

    /// Whether somebody hears it.
    pub(super) fn is_heard(&self) -> bool {
        self.told.receiver_count() > 0
    }

    /// Hears it from a place on.
    pub(super) fn listener(&self, at: At) -> Listener {
        Listener::new(self.told.subscribe(), at)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let mut answers = self.live.answers();
        // The answer may have been begun again since.
        let is_own = |entry: &Entry| entry.told.same_channel(&self.told);
        if answers.get(&self.id).is_some_and(is_own) {
            answers.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::told::Heard, *};

    #[tokio::test]
    async fn a_listener_hears_every_piece_from_its_place_on() {
        let live = Live::default();
        let id = MessageId::new();
        let (speaker, _stopped) = live.begin(id, Uuid::nil(), String::new());
        let mut early = live.listen(id, At::default()).unwrap();
        speaker.say("नम");
        speaker.say("स्ते");
        let mut late = live.listen(id, At::from(3)).unwrap();
        let pieces = [("नम".to_owned(), 6), ("स्ते".to_owned(), 18)];
        assert_eq!(early.next().await, Heard::More(pieces.to_vec()));
        let rest = [("म".to_owned(), 6), ("स्ते".to_owned(), 18)];
        assert_eq!(late.next().await, Heard::More(rest.to_vec()));
        // Within a character: the whole of it comes again.
        let mut within = live.listen(id, At::from(17)).unwrap();
        let Heard::More(pieces) = within.next().await else {
            panic!("there is more");
        };
        assert_eq!(pieces, [("े".to_owned(), 18)]);
        drop(speaker);
        assert_eq!(early.next().await, Heard::Gone);
        assert!(live.listen(id, At::default()).is_none());
    }

    #[tokio::test]
    async fn only_what_is_made_here_is_stopped_and_saved() {
        let live = Live::default();
        let (own, other) = (MessageId::new(), MessageId::new());
        let (speaker, mut stopped) = live.begin(own, Uuid::nil(), "so far".to_owned());
        let (_listener, repeating) = live.repeat(other, At::default());
        repeating.as_ref().unwrap().say("elsewhere");
        assert!(live.repeat(other, At::default()).1.is_none());
        assert!(live.unsaved(&[Uuid::nil()]).is_empty());
        speaker.say(" and on");
        let unsaved = live.unsaved(&[Uuid::nil()]);
        assert_eq!(unsaved[0].text, "so far and on");
        assert!(live.unsaved(&[Uuid::nil()]).is_empty());
        live.unsave(unsaved);
        assert_eq!(live.unsaved(&[Uuid::nil()]).len(), 1);
        assert!(live.unsaved(&[Uuid::nil()]).is_empty());
        assert!(!live.stop(other, Stop::Cancelled));
        assert!(live.stop(own, Stop::Cancelled));
        assert_eq!(live.stop_all(Stop::Interrupted), 1);
        assert_eq!(*stopped.borrow_and_update(), Some(Stop::Cancelled));
    }
}

//! Asking the database for many at once what each asks for alone: while one statement runs, whoever comes waits, and the next
//! statement is for all of them.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

/// Most askers of one statement.
const MOST: usize = 256;

type Waiting<I, O> = (I, oneshot::Sender<O>);

/// Those who ask the same.
pub(crate) struct Together<I, O> {
    waiting: Mutex<Vec<Waiting<I, O>>>,
    turns: Arc<Semaphore>,
    /// The runs that ask wait for these, and a shutdown for the runs.
    statements: TaskTracker,
}

impl<I: Send + 'static, O: Send + 'static> Together<I, O> {
    /// With so many statements at once.
    pub(crate) fn new(statements: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Arc::new(Semaphore::new(statements)),
            statements: TaskTracker::new(),
        }
    }

    /// Asks. `all` answers for everybody who waits then, in their order; it goes on though its asker is stopped. `None` when it
    /// gave no answer.
    pub(crate) async fn ask<F>(&self, item: I, all: impl FnOnce(Vec<I>) -> F) -> Option<O>
    where
        F: Future<Output = Vec<O>> + Send + 'static,
    {
        let (sender, mut answer) = oneshot::channel();
        self.lock().push((item, sender));
        let turn = tokio::select! {
            biased;
            answer = &mut answer => return answer.ok(),
            turn = self.turns.clone().acquire_owned() => turn.ok()?,
        };
        let waiting: Vec<_> = {
            let mut waiting = self.lock();
            let most = waiting.len().min(MOST);
            waiting.drain(..most).collect()
        };
        if waiting.is_empty() {
            drop(turn);
        } else {
            let (items, senders): (Vec<I>, Vec<_>) = waiting.into_iter().unzip();
            let answers = all(items);
            self.statements.spawn(async move {
                let answers = answers.await;
                drop(turn);
                for (sender, answer) in senders.into_iter().zip(answers) {
                    let _ = sender.send(answer);
                }
            });
        }
        answer.await.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting<I, O>>> {
        self.waiting
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_answered_by_few_statements() {
        let together = Together::new(1);
        let statements = Arc::new(AtomicUsize::new(0));
        let asked = (0..1000).map(|n: usize| {
            let statements = statements.clone();
            together.ask(n, move |items| async move {
                statements.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                items.into_iter().map(|n| n * 2).collect()
            })
        });
        let answers = futures::future::join_all(asked).await;
        let expected: Vec<_> = (0..1000).map(|n| Some(n * 2)).collect();
        assert_eq!(answers, expected);
        let statements = statements.load(Ordering::SeqCst);
        assert!((4..=10).contains(&statements), "{statements}");
    }

    #[tokio::test]
    async fn one_who_gives_up_takes_nothing_from_the_others() {
        let together = Arc::new(Together::<u8, u8>::new(1));
        let (go, held) = oneshot::channel::<()>();
        let first = together.clone();
        let first = TaskTracker::new().spawn(async move {
            let all = |items: Vec<u8>| async move {
                let _ = held.await;
                items
            };
            first.ask(1, all).await
        });
        tokio::task::yield_now().await;
        let mut second = Box::pin(together.ask(2, |items| async { items }));
        assert!(futures::poll!(&mut second).is_pending());
        first.abort();
        go.send(()).unwrap();
        assert_eq!(second.await, Some(2));
        assert_eq!(together.ask(3, |items| async { items }).await, Some(3));
    }

    #[tokio::test]
    async fn no_answer_is_no_answer() {
        let together = Together::<u8, u8>::new(1);
        assert_eq!(together.ask(1, |_| async { Vec::new() }).await, None);
    }
}

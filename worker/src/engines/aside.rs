//! Work for the processor that gives way to others.

use std::thread;

use tokio::sync::oneshot;

/// Work that came to no end.
#[derive(Debug, thiserror::Error)]
pub enum Aborted {
    /// There was no thread for it.
    #[error("no thread could be started")]
    NotStarted(#[source] std::io::Error),
    /// It panicked.
    #[error("the work panicked")]
    Panicked,
}

/// Runs work on a thread of its own, at the niceness of helper programs where threads have one (Linux). So what answers
/// requests on the same machine goes first: with pictures prepared at the usual niceness, p99 of the list of conversations
/// was 31 ms on two cores (`bin/bench api`).
///
/// Dropped before, the work goes on to its end.
///
/// # Errors
/// When it panics, or when there is no thread for it.
pub async fn run_aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Aborted> {
    let (sender, result) = oneshot::channel();
    thread::Builder::new()
        .name("aside".to_owned())
        .spawn(move || {
            // If this is not allowed, it is only less considerate.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(10);
            let _ = sender.send(work());
        })
        .map_err(Aborted::NotStarted)?;
    result.await.map_err(|_| Aborted::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_work_is_nicer_than_the_rest() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(run_aside(nice).await.unwrap(), (before + 10).min(19));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let work = run_aside(|| panic!("on purpose")).await;
        assert!(matches!(work, Err(Aborted::Panicked)));
    }
}

//! The folder of this process for what it makes on its way: documents and sounds of users among them.
//!
//! It goes with the process. A process that is killed cannot remove it, but then its lock is free, and the next process of the
//! same program that starts on this machine removes it.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use tempfile::TempDir;

/// How the folders of all programs are called, before the program's own name.
const PREFIX: &str = "baatcheet-";
/// The file in it that its process holds locked.
const LOCK: &str = "lock";

/// The folder; cheap to clone, and gone with the last clone.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<Held>);

/// The folder goes before its lock does.
#[derive(Debug)]
struct Held {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes the folder of a program, like `worker`, and removes those of its processes that were killed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(program: &str) -> io::Result<Self> {
        Self::open_in(&std::env::temp_dir(), program)
    }

    fn open_in(base: &Path, program: &str) -> io::Result<Self> {
        let prefix = format!("{PREFIX}{program}-");
        remove_abandoned(base, &prefix);
        loop {
            let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(base)?;
            // Another process that starts may have taken it for an abandoned one, before it was locked.
            if let Some(lock) = lock_new(folder.path())? {
                return Ok(Self(Arc::new(Held {
                    folder,
                    _lock: lock,
                })));
            }
        }
    }

    /// Makes a folder for one job or request, which goes when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self) -> io::Result<TempDir> {
        tempfile::tempdir_in(self.0.folder.path())
    }
}

/// Locks a folder that was made just now; none where it is gone already.
fn lock_new(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::create_new(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => {
            let is_there = lock.metadata()?.nlink() > 0;
            Ok(is_there.then_some(lock))
        }
    }
}

fn remove_abandoned(base: &Path, prefix: &str) {
    let ours = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        // Links are not followed: anybody may write to the folder for temporary files.
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix)
            && entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == ours);
        if !is_ours {
            continue;
        }
        match remove_unlocked(&entry.path()) {
            Ok(true) => tracing::info!("removed the temporary files of a process that was killed"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %error, "the temporary files of a process that was killed stay");
            }
        }
    }
}

/// Removes a folder that nobody holds, and tells whether it did.
fn remove_unlocked(folder: &Path) -> io::Result<bool> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        removed => removed.map(|()| true),
    };
    let lock = match File::open(folder.join(LOCK)) {
        // It is empty: it has just been made, or its process died just then.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::remove_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
                removed => gone(removed),
            };
        }
        lock => lock?,
    };
    match lock.try_lock() {
        Ok(()) => gone(fs::remove_dir_all(folder)),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(base: &Path) -> usize {
        fs::read_dir(base).unwrap().count()
    }

    #[test]
    fn a_folder_lives_as_long_as_its_process_holds_it() {
        let base = tempfile::tempdir().unwrap();
        let one = Scratch::open_in(base.path(), "worker").unwrap();
        let job = one.folder().unwrap();
        fs::write(job.path().join("document.pdf"), "a secret").unwrap();
        let other = Scratch::open_in(base.path(), "worker").unwrap();
        assert_eq!(names(base.path()), 2);
        assert!(job.path().join("document.pdf").exists());
        drop((one.clone(), other));
        assert_eq!(names(base.path()), 1);
        drop(one);
        assert_eq!(names(base.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_goes_at_the_next_start() {
        let base = tempfile::tempdir().unwrap();
        let abandoned = base.path().join("baatcheet-worker-abc");
        fs::create_dir_all(abandoned.join("job")).unwrap();
        fs::write(abandoned.join("job/document.pdf"), "a secret").unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::create_dir(base.path().join("baatcheet-worker-new")).unwrap();
        // None of these is a worker's.
        fs::create_dir(base.path().join("baatcheet-api-new")).unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(LOCK), "").unwrap();
        let link = base.path().join("baatcheet-worker-link");
        std::os::unix::fs::symlink(other.path(), link).unwrap();
        fs::create_dir(base.path().join("somebody-elses")).unwrap();

        let held = Scratch::open_in(base.path(), "worker").unwrap();
        assert!(!abandoned.exists());
        assert_eq!(names(base.path()), 4);
        assert!(other.path().join(LOCK).exists());
        drop(held);
        assert_eq!(names(base.path()), 3);
    }

    #[test]
    fn processes_that_start_together_do_not_remove_each_others() {
        let base = tempfile::tempdir().unwrap();
        let held: Vec<Scratch> = std::thread::scope(|scope| {
            let start = || Scratch::open_in(base.path(), "worker").unwrap();
            let starting: Vec<_> = (0..16).map(|_| scope.spawn(start)).collect();
            starting
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(names(base.path()), 16);
        for scratch in &held {
            scratch.folder().unwrap();
        }
    }
}

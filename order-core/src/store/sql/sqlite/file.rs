//! Watching that the files at the database's paths are those that were opened.
//!
//! A file that was moved, removed or replaced is still there for whoever has it open: what is
//! written to it then is lost with the last connection, or belongs to another database. So
//! nothing is written, and nothing is read, unless the paths lead to what was opened. When they
//! do again (the file is moved back), the work goes on; a copy in its place is another file, and
//! takes a restart.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{error::Error, sync::lock};

/// Device and inode, which no two files on a machine share while both are open.
type Identity = (u64, u64);

/// The database, its log, and the index of its log.
type Identities = [Option<Identity>; 3];

/// The paths that lead to what was opened no more.
#[derive(Debug, thiserror::Error)]
#[error("{} was moved, removed or replaced since it was opened", path.display())]
pub(super) struct Replaced {
    path: PathBuf,
}

/// The files of a database.
pub(super) struct DatabaseFile {
    paths: [PathBuf; 3],
    opened: Mutex<Identities>,
    is_replaced: AtomicBool,
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseFile").field(&self.paths[0]).finish()
    }
}

impl DatabaseFile {
    /// The database at `path`, which nobody opened yet.
    pub(super) fn new(path: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            paths: [path.to_owned(), beside("-wal"), beside("-shm")],
            opened: Mutex::default(),
            is_replaced: AtomicBool::new(false),
        }
    }

    /// Remembers what is at the paths: what the connection that writes has just opened. Whoever
    /// closes a database last removes its log, so that a new connection may have a new one.
    ///
    /// # Errors
    /// When the database itself is another one than before.
    pub(super) fn remember(&self) -> io::Result<()> {
        let found = self.find()?;
        let mut opened = lock(&self.opened);
        if opened[0].is_some() && opened[0] != found[0] {
            return Err(io::Error::other(self.replaced(0)));
        }
        *opened = found;
        Ok(())
    }

    /// Checks that the paths still lead to what was opened.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when one of them does not.
    pub(super) fn check(&self) -> Result<(), Error> {
        let opened = *lock(&self.opened);
        let found = self.find().unwrap_or_default();
        let strayed = (0..opened.len()).find(|&n| opened[n].is_some() && opened[n] != found[n]);
        let was_replaced = self.is_replaced.swap(strayed.is_some(), Ordering::Relaxed);
        let Some(n) = strayed else {
            if was_replaced {
                tracing::info!(path = %self.paths[0].display(), "the database is back");
            }
            return Ok(());
        };
        let replaced = self.replaced(n);
        if !was_replaced {
            tracing::error!(
                "{replaced}: nothing is read or written until it is back; to use what is there \
                 now, restart"
            );
        }
        Err(Error::Unavailable {
            source: Arc::new(replaced),
        })
    }

    /// The length of the log in bytes; 0 when there is none.
    pub(super) fn log_bytes(&self) -> u64 {
        fs::metadata(&self.paths[1]).map_or(0, |log| log.len())
    }

    fn replaced(&self, n: usize) -> Replaced {
        Replaced {
            path: self.paths[n].clone(),
        }
    }

    fn find(&self) -> io::Result<Identities> {
        let mut found = Identities::default();
        for (path, found) in self.paths.iter().zip(&mut found) {
            *found = match fs::metadata(path) {
                Ok(metadata) => Some(identity(&metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(found)
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere, a file that is open can be neither moved nor removed.
#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {
    (0, 0)
}

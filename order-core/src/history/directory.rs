//! The directory of an archive: what is in it is whole, whenever the process or the machine ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::error::Error;

/// The file whose lock one process has.
const LOCK: &str = ".lock";

/// A directory that no other process archives to, for as long as this is there. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: Arc<PathBuf>,
    _lock: Arc<File>,
}

/// Something that cannot be done with a file.
fn failed<T>(file: &Path, what: &'static str, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::Archive {
        file: file.display().to_string(),
        reason: format!("cannot be {what}: {error}"),
    })
}

impl Directory {
    /// Makes the directory, if need be, and keeps others from archiving to it.
    pub(super) async fn open(path: PathBuf) -> Result<Self, Error> {
        blocking(move || {
            failed(&path, "made", fs::create_dir_all(&path))?;
            let lock = path.join(LOCK);
            let mut open = OpenOptions::new();
            let open = open.create(true).truncate(false).write(true).open(&lock);
            let file = failed(&lock, "opened", open)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let reason = "another process archives to this directory".to_owned();
                    let file = lock.display().to_string();
                    return Err(Error::Archive { file, reason });
                }
                Err(TryLockError::Error(error)) => return failed(&lock, "locked", Err(error)),
            }
            let (path, _lock) = (Arc::new(path), Arc::new(file));
            Ok(Self { path, _lock })
        })
        .await
    }

    /// The path of a file, as it is told.
    pub(super) fn tell(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Writes a file: it is there with these contents and on the disk, or it is as it was.
    pub(super) async fn write(&self, name: &str, contents: Arc<Vec<u8>>) -> Result<(), Error> {
        let (directory, file) = (Arc::clone(&self.path), self.path.join(name));
        let unfinished = self.path.join(format!(".{name}.tmp"));
        blocking(move || {
            let mut written = failed(&unfinished, "made", File::create(&unfinished))?;
            failed(&unfinished, "written", written.write_all(&contents))?;
            failed(&unfinished, "synced", written.sync_all())?;
            failed(&file, "put in place", fs::rename(&unfinished, &file))?;
            let synced = File::open(&*directory).and_then(|directory| directory.sync_all());
            failed(&directory, "synced", synced)
        })
        .await
    }

    /// The contents of a file.
    pub(super) async fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let file = self.path.join(name);
        blocking(move || failed(&file, "read", fs::read(&file))).await
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let file = self.path.join(name);
        blocking(move || match fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => failed(&file, "removed", removed),
        })
        .await
    }
}

/// Does what waits for a disk, where nothing else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::backend(error)))
}

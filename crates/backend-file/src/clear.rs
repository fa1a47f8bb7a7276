//! Removal of a lock that nobody needs any more.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use leasehold_backend::doctor::is_scratch_name;

use crate::disk::{Directory, Disk};
use crate::form;
use crate::place::Place;

/// Removes the files of a scratch lock, and of exactly this one, for the tool that made it. The
/// number of files.
///
/// # Errors
/// The name is not that of a scratch lock (a lock that anybody uses is never removed: its holder
/// would lead on next to the next one), the path cannot be a lock's, the directory cannot be read,
/// or a file cannot be removed.
#[doc(hidden)]
pub fn remove_scratch(path: impl AsRef<Path>) -> io::Result<usize> {
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    let place = Place::parse(path.as_ref()).map_err(refused)?;
    if !is_scratch_name(&place.name.to_string_lossy()) {
        return Err(refused("its name is not that of a scratch lock".to_owned()));
    }
    remove(&place)
}

/// The lock's own file if this crate wrote it, and the files next to it whose names are this
/// lock's.
fn remove(place: &Place) -> io::Result<usize> {
    let directory = match Directory::open(&place.directory) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    let is_ours = match directory.contents(&place.name) {
        Ok(Some(own)) => form::lock_of(&own.bytes).is_ok(),
        // Not a file: not ours.
        Ok(None) | Err(Errno::NXIO | Errno::LOOP) => false,
        Err(errno) => return Err(errno.into()),
    };
    let mut own = is_ours.then(|| place.name.clone());
    let mut removed = 0;
    loop {
        let beside = directory.list()?.into_iter().filter(|name| place.role(name).is_some());
        let mut moved = false;
        for name in own.take().into_iter().chain(beside) {
            match directory.unlink(&name) {
                Ok(()) => removed += 1,
                // A write that its sender gave up may have renamed it since.
                Err(Errno::NOENT) => moved = true,
                // It only has such a name.
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if !moved {
            return Ok(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::form::tests::record;
    use crate::place::State;
    use crate::store::{Store, Wrote};

    fn removed(path: &Path) -> usize {
        remove(&Place::parse(path).unwrap()).unwrap()
    }

    #[test]
    fn a_lock_that_anybody_uses_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["jobs", "bench-1", "jobs.bench-0123456789abcde"] {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            assert!(remove_scratch(&path).is_err(), "{name}");
            assert!(path.exists());
        }
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_files_of_this_very_lock_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let others = ["jobs2", "jobs.a", "jobs.0000000000000001", "job"];
        for name in others.iter().chain(&["jobs"]) {
            let place = Place::parse(&dir.path().join(name)).unwrap();
            let store = Store { place: &place, disk: &directory };
            store.create(1, &record(1), &|| Ok(())).unwrap();
            fs::write(dir.path().join(place.scratch(1)), "").unwrap();
        }
        let foreign = ["jobs.txt", "jobs.record", "jobs.x.alive", "jobs.bak"];
        for name in foreign {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let before = names(dir.path());
        assert_eq!(removed(&dir.path().join("jobs")), 4);
        let after = names(dir.path());
        assert_eq!(after.len(), before.len() - 4, "{after:?}");
        assert!(others.iter().chain(&foreign).all(|name| after.contains(&(*name).to_owned())));
        for name in others {
            let place = Place::parse(&dir.path().join(name)).unwrap();
            let count = after.iter().filter(|file| place.role(file.as_ref()).is_some()).count();
            assert_eq!(count, 3, "{name}: {after:?}");
        }
        assert_eq!(removed(&dir.path().join("jobs")), 0);
    }

    /// A writer whose caller gave it up renames the baton at any moment.
    #[test]
    fn a_write_under_way_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::parse(&dir.path().join("jobs")).unwrap();
        for round in 0..50 {
            let (begun, wrote) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                let place = &place;
                scope.spawn(move || {
                    let directory = Directory::open(&place.directory).unwrap();
                    let store = Store { place, disk: &directory };
                    let mut wrote = store.create(1, &record(1), &|| Ok(()));
                    while let Ok(Wrote::Written(state, header)) = wrote {
                        let _ = begun.send(());
                        wrote = store.replace(state, header, &record(2), &|| Ok(()));
                    }
                });
                for _ in 0..=round % 5 {
                    let _ = wrote.recv();
                }
                removed(&dir.path().join("jobs"));
            });
            assert_eq!(names(dir.path()), Vec::<String>::new(), "round {round}");
        }
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("notes"), "of somebody").unwrap();
        fs::create_dir(path("dir")).unwrap();
        fs::write(path("dir").join("x"), "").unwrap();
        std::os::unix::fs::symlink(path("notes"), path("link")).unwrap();
        let place = Place::parse(&path("dir")).unwrap();
        let baton = place.baton(State { lock: 1, generation: 1, id: 1 });
        fs::create_dir(dir.path().join(baton)).unwrap();
        let before = names(dir.path());
        for name in ["notes", "dir", "link", "none"] {
            assert_eq!(removed(&path(name)), 0, "{name}");
        }
        assert_eq!(names(dir.path()), before);
        assert_eq!(removed(Path::new("/no/such/directory/x")), 0);
        assert!(remove_scratch("").is_err() && remove_scratch("/").is_err());
    }
}

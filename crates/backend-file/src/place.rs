//! Where a lock lives: its directory, and the names of its files there.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use leasehold_core::Incarnation;

use crate::failure::shown;

/// The longest of the suffixes below: three dots, two ids, a generation of 20 digits, ".record".
const LONGEST_SUFFIX: usize = 1 + 16 + 1 + 20 + 1 + 16 + ".record".len();

/// A path may not have so many bytes (`PATH_MAX`, which counts a zero at the end).
const LONGEST_PATH: usize = 4096;

/// A directory and a name in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) name: OsString,
}

/// One state of a lock: never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct State {
    /// Drawn when the lock's file was created.
    pub(crate) lock: u64,
    /// Counts the writes since then.
    pub(crate) generation: u64,
    /// Drawn at every attempt to write.
    pub(crate) id: u64,
}

/// What a file beside the lock's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The contents of a state: written before the state comes to be, removed after it passed.
    Record(State),
    /// The state that is: there is one such file, and renaming it is the compare-and-swap.
    Baton(State),
    /// Locked while the process of this incarnation lives.
    Alive(Incarnation),
    /// On its way to become a liveness file.
    Scratch,
}

impl Place {
    /// # Errors
    /// A sentence that says what is wrong with the path.
    pub(crate) fn parse(path: &Path) -> Result<Self, String> {
        let shown = shown(path);
        if path.as_os_str().is_empty() {
            return Err("the path of the lock is empty: name a file".to_owned());
        }
        let bytes = path.as_os_str().as_bytes();
        if bytes.contains(&0) {
            return Err(format!("{shown} has a NUL byte in it: no file can be called that"));
        }
        let absolute = std::path::absolute(path)
            .map_err(|error| format!("{shown} has no absolute form: {error}"))?;
        let named = !bytes.ends_with(b"/") && !bytes.ends_with(b"/.") && bytes != b".";
        // A clear word here rather than whatever the first system call says.
        if absolute.as_os_str().len() >= LONGEST_PATH {
            return Err(format!(
                "{shown} has {} bytes, and a path at most {}: choose a shorter one",
                absolute.as_os_str().len(),
                LONGEST_PATH - 1
            ));
        }
        let (Some(directory), Some(name), true) = (absolute.parent(), absolute.file_name(), named)
        else {
            return Err(format!("{shown} names a directory: name a file in it"));
        };
        let most = 255 - LONGEST_SUFFIX;
        if name.len() > most {
            return Err(format!(
                "the file name in {shown} has {} bytes, and a lock's at most {most} (its other \
                 files are named after it): choose a shorter one",
                name.len()
            ));
        }
        Ok(Self { directory: directory.to_owned(), name: name.to_owned() })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    pub(crate) fn record(&self, state: State) -> OsString {
        self.with(format_args!("{state}.record"))
    }

    pub(crate) fn baton(&self, state: State) -> OsString {
        self.with(format_args!("{state}.baton"))
    }

    pub(crate) fn alive(&self, incarnation: Incarnation) -> OsString {
        self.with(format_args!("{incarnation}.alive"))
    }

    pub(crate) fn scratch(&self, id: u64) -> OsString {
        self.with(format_args!("{id:016x}.tmp"))
    }

    /// What the file with this name is to this lock; `None`: nothing of ours, or the lock's own
    /// file.
    pub(crate) fn role(&self, name: &OsStr) -> Option<Role> {
        let rest = name.as_bytes().strip_prefix(self.name.as_bytes())?.strip_prefix(b".")?;
        let (what, kind) = std::str::from_utf8(rest).ok()?.rsplit_once('.')?;
        match kind {
            "record" => what.parse().ok().map(Role::Record),
            "baton" => what.parse().ok().map(Role::Baton),
            "alive" => what.parse().ok().map(Role::Alive),
            "tmp" => id(what).map(|_| Role::Scratch),
            _ => None,
        }
    }

    fn with(&self, suffix: fmt::Arguments<'_>) -> OsString {
        let mut name = self.name.clone();
        name.push(format!(".{suffix}"));
        name
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}.{:016x}", self.lock, self.generation, self.id)
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let (Some(lock), Some(generation), Some(last), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let state = Self {
            lock: id(lock).ok_or(())?,
            generation: generation.parse().map_err(drop)?,
            id: id(last).ok_or(())?,
        };
        // One spelling only: a name that reads alike but is another file is none of ours.
        if state.to_string() == text { Ok(state) } else { Err(()) }
    }
}

/// 16 lower-case hexadecimal digits.
pub(crate) fn id(text: &str) -> Option<u64> {
    let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_and_others_are_not() {
        let place = Place::parse(Path::new("/run/a lock\n-é")).unwrap();
        let state = State { lock: 1, generation: u64::MAX, id: u64::MAX };
        let inc = Incarnation(7);
        assert_eq!(place.role(&place.record(state)), Some(Role::Record(state)));
        assert_eq!(place.role(&place.baton(state)), Some(Role::Baton(state)));
        assert_eq!(place.role(&place.alive(inc)), Some(Role::Alive(inc)));
        assert_eq!(place.role(&place.scratch(3)), Some(Role::Scratch));
        assert_eq!(place.record(state).len(), place.name.len() + LONGEST_SUFFIX);
        for other in ["", ".x", ".0.record", ".0000000000000001.01.0000000000000001.baton"] {
            let mut name = place.name.clone();
            name.push(other);
            assert_eq!(place.role(&name), None, "{other}");
        }
    }

    #[test]
    fn a_lock_named_like_another_and_more_is_told_apart() {
        let short = Place::parse(Path::new("/run/jobs")).unwrap();
        let long = Place::parse(Path::new("/run/jobs.0000000000000001")).unwrap();
        let state = State { lock: 1, generation: 2, id: 3 };
        assert_eq!(short.role(&long.record(state)), None);
        assert_eq!(long.role(&short.record(state)), None);
    }

    #[test]
    fn refuses_what_cannot_be_a_lock() {
        for (path, says) in [
            ("", "is empty"),
            ("/", "names a directory"),
            (".", "names a directory"),
            ("..", "names a directory"),
            ("x/..", "names a directory"),
            ("x/.", "names a directory"),
            ("x/", "names a directory"),
            ("a\0b", "NUL"),
        ] {
            let error = Place::parse(Path::new(path)).unwrap_err();
            assert!(error.contains(says), "{path:?}: {error}");
        }
        let long = "x".repeat(255 - LONGEST_SUFFIX);
        assert!(Place::parse(Path::new(&long)).is_ok());
        assert!(Place::parse(Path::new(&(long + "x"))).unwrap_err().contains("shorter"));
        let odd = Place::parse(Path::new("-v/../x y")).unwrap();
        assert!(odd.path().is_absolute() && odd.name == "x y");
    }

    proptest::proptest! {
        /// Each name has one meaning, and each meaning one name: what only looks alike is not ours.
        #[test]
        fn a_name_is_ours_only_as_we_spell_it(
            bytes: Vec<u8>,
            rest in r"(\.|[0-9a-fA-F+]{1,33}|record|baton|alive|tmp|\PC){0,9}",
        ) {
            let place = Place::parse(Path::new("/run/jobs")).unwrap();
            let names = [
                bytes.clone(),
                [b"jobs.".as_slice(), &bytes].concat(),
                [b"jobs".as_slice(), rest.as_bytes()].concat(),
                [b"jobs.".as_slice(), rest.as_bytes()].concat(),
            ];
            for name in names {
                let name = OsStr::from_bytes(&name);
                let spelt = match place.role(name) {
                    Some(Role::Record(state)) => place.record(state),
                    Some(Role::Baton(state)) => place.baton(state),
                    Some(Role::Alive(incarnation)) => place.alive(incarnation),
                    Some(Role::Scratch) => {
                        let id = &name.as_bytes()[b"jobs.".len()..][..16];
                        place.scratch(id_of(id))
                    }
                    None => continue,
                };
                proptest::prop_assert_eq!(spelt.as_os_str(), name);
            }
        }

        #[test]
        fn a_state_is_read_as_it_was_written(lock: u64, generation: u64, id: u64) {
            let state = State { lock, generation, id };
            proptest::prop_assert_eq!(state.to_string().parse(), Ok(state));
        }

        #[test]
        fn no_path_makes_it_panic(bytes: Vec<u8>) {
            if let Ok(place) = Place::parse(Path::new(OsStr::from_bytes(&bytes))) {
                proptest::prop_assert!(place.path().is_absolute() && place.name.len() < 255);
            }
        }
    }

    fn id_of(digits: &[u8]) -> u64 {
        id(std::str::from_utf8(digits).unwrap()).unwrap()
    }
}

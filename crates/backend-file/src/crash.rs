//! A crash of the machine at any point of a write leaves the old record or the new one.
//!
//! The writes run for real and their system calls are recorded. A model of a disk then crashes
//! after each call, in every way it may: of the directory's changes since it was last synced any
//! subset is kept (each change wholly or not, as journals do), and of a file's contents since they
//! were last synced all, none, or some. Each outcome is laid out as a directory and read by the
//! real reader.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use leasehold_core::{BootClock, Incarnation, Record, Wall};
use rustix::io::Errno;

use crate::disk::{Directory, Disk};
use crate::form::tests::record;
use crate::liveness::Liveness;
use crate::place::Place;
use crate::store::{Seen, Store, Wrote};

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Create(OsString),
    Write(OsString, Vec<u8>),
    Overwrite(OsString, u64, Vec<u8>),
    Sync(OsString),
    SyncDirectory,
    Link(OsString, OsString),
    Rename(OsString, OsString),
    Unlink(OsString),
    /// No call: from here on this record was promised.
    Acknowledged(Record),
}

struct Recorder {
    directory: Directory,
    calls: RefCell<Vec<Call>>,
}

impl Recorder {
    fn note<T>(&self, result: Result<T, Errno>, call: Call) -> Result<T, Errno> {
        if result.is_ok() {
            self.calls.borrow_mut().push(call);
        }
        result
    }
}

impl Disk for Recorder {
    fn directory(&self) -> &Directory {
        &self.directory
    }

    fn create(&self, name: &OsStr, mode: u32) -> Result<File, Errno> {
        self.note(self.directory.create(name, mode), Call::Create(name.into()))
    }

    fn write(&self, name: &OsStr, file: &File, bytes: &[u8]) -> Result<(), Errno> {
        self.note(self.directory.write(name, file, bytes), Call::Write(name.into(), bytes.into()))
    }

    fn sync(&self, name: &OsStr, file: &File) -> Result<(), Errno> {
        self.note(self.directory.sync(name, file), Call::Sync(name.into()))
    }

    fn sync_directory(&self) -> Result<(), Errno> {
        self.note(self.directory.sync_directory(), Call::SyncDirectory)
    }

    fn link(&self, name: &OsStr, second: &OsStr) -> Result<(), Errno> {
        self.note(self.directory.link(name, second), Call::Link(name.into(), second.into()))
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.note(self.directory.rename(from, to), Call::Rename(from.into(), to.into()))
    }

    fn unlink(&self, name: &OsStr) -> Result<(), Errno> {
        self.note(self.directory.unlink(name), Call::Unlink(name.into()))
    }

    fn overwrite(&self, name: &OsStr, file: &File, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let call = Call::Overwrite(name.into(), at, bytes.into());
        self.note(self.directory.overwrite(name, file, at, bytes), call)
    }
}

type Entries = BTreeMap<OsString, usize>;

#[derive(Clone, Default)]
struct Model {
    /// Contents on the disk, and as processes see them.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    durable: Entries,
    entries: Entries,
    pending: Vec<Call>,
    /// The file behind a name in `pending`.
    created: BTreeMap<OsString, usize>,
}

impl Model {
    fn apply(&mut self, call: &Call) {
        match call {
            Call::Create(name) => {
                self.files.push(Default::default());
                self.created.insert(name.clone(), self.files.len() - 1);
            }
            Call::Write(name, bytes) => self.file(name).1.extend_from_slice(bytes),
            Call::Overwrite(name, at, bytes) => {
                let (at, contents) = (usize::try_from(*at).unwrap(), &mut self.file(name).1);
                contents.resize(contents.len().max(at + bytes.len()), 0);
                contents[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Call::Sync(name) => {
                let file = self.file(name);
                file.0 = file.1.clone();
            }
            Call::SyncDirectory => {
                self.durable = self.entries.clone();
                self.pending.clear();
            }
            Call::Link(..) | Call::Rename(..) | Call::Unlink(_) | Call::Acknowledged(_) => {}
        }
        if matches!(call, Call::Create(_) | Call::Link(..) | Call::Rename(..) | Call::Unlink(_)) {
            self.pending.push(call.clone());
            change(&mut self.entries, call, &self.created);
        }
    }

    fn file(&mut self, name: &OsStr) -> &mut (Vec<u8>, Vec<u8>) {
        &mut self.files[self.entries[name]]
    }

    /// Everything that may be on the disk after a crash now.
    fn crashes(&self) -> BTreeSet<Vec<(OsString, usize, Vec<u8>)>> {
        let mut all = BTreeSet::new();
        assert!(self.pending.len() <= 12, "{:?}", self.pending);
        for kept in 0..1_u32 << self.pending.len() {
            let mut entries = self.durable.clone();
            for (n, call) in self.pending.iter().enumerate() {
                if kept & (1 << n) != 0 {
                    change(&mut entries, call, &self.created);
                }
            }
            let mut layouts = vec![BTreeMap::new()];
            for file in entries.values().copied().collect::<BTreeSet<usize>>() {
                layouts = layouts
                    .iter()
                    .flat_map(|layout| {
                        self.remains(file).into_iter().map(|bytes| {
                            let mut layout: BTreeMap<usize, Vec<u8>> = layout.clone();
                            layout.insert(file, bytes);
                            layout
                        })
                    })
                    .collect();
            }
            all.extend(layouts.iter().map(|layout| {
                entries
                    .iter()
                    .map(|(name, file)| (name.clone(), *file, layout[file].clone()))
                    .collect()
            }));
        }
        all
    }

    /// What a crash may leave of a file's contents.
    fn remains(&self, file: usize) -> BTreeSet<Vec<u8>> {
        let (durable, seen) = &self.files[file];
        let mut all = BTreeSet::from([durable.clone(), seen.clone()]);
        if durable != seen {
            let half = usize::midpoint(durable.len().min(seen.len()), seen.len()) / 2;
            all.insert(seen[..half.max(durable.len().min(seen.len()))].to_vec());
            all.insert([&seen[..half], durable.get(half..).unwrap_or(&[])].concat());
        }
        all
    }
}

fn change(entries: &mut Entries, call: &Call, created: &BTreeMap<OsString, usize>) {
    match call {
        Call::Create(name) => {
            entries.insert(name.clone(), created[name]);
        }
        Call::Link(name, second) => {
            if let Some(file) = entries.get(name).copied() {
                entries.entry(second.clone()).or_insert(file);
            }
        }
        Call::Rename(from, to) => {
            if let Some(file) = entries.remove(from) {
                entries.insert(to.clone(), file);
            }
        }
        Call::Unlink(name) => {
            entries.remove(name);
        }
        _ => unreachable!("changes no entry"),
    }
}

/// Creates, takes, renews, releases and takes again; returns what was called.
fn run() -> Vec<Call> {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::parse(&dir.path().join("jobs")).unwrap();
    let disk = Recorder {
        directory: Directory::open(&place.directory).unwrap(),
        calls: RefCell::default(),
    };
    let store = Store { place: &place, disk: &disk };
    let go = || Ok(());
    let wrote = |wrote, record: &Record| match wrote {
        Wrote::Written(state, header) => {
            disk.calls.borrow_mut().push(Call::Acknowledged(record.clone()));
            (state, header)
        }
        Wrote::Conflict => panic!("nobody else writes"),
    };
    let adopted = Record { holder: None, ..record(0) };
    let (mut state, mut header) = wrote(store.create(5, &adopted, &go).unwrap(), &adopted);
    for token in 1..=3 {
        let liveness = Liveness::new(place.clone(), Arc::new(BootClock::new()));
        let incarnation = Incarnation(token.into());
        liveness.hold(&disk, incarnation).unwrap();
        let ticket = liveness.ticket(incarnation).unwrap();
        for step in 0..3 {
            let mut next = record(10 * token + step);
            next.holder = next.holder.filter(|_| step < 2);
            (state, header) = wrote(store.replace(state, header, &next, &go).unwrap(), &next);
            if step == 0 {
                store.sweep(state, Wall(0));
            }
        }
        liveness.released(&disk, incarnation, ticket);
    }
    disk.calls.into_inner()
}

/// Crashes everywhere; returns how many different ends were tried.
fn check(calls: &[Call]) -> Result<usize, String> {
    let mut model = Model::default();
    let (mut promised, mut tried) = (None, BTreeSet::new());
    for (n, call) in calls.iter().enumerate() {
        model.apply(call);
        if let Call::Acknowledged(record) = call {
            promised = Some(record.clone());
        }
        let coming = calls[n..].iter().find_map(|call| match call {
            Call::Acknowledged(record) => Some(record.clone()),
            _ => None,
        });
        for crash in model.crashes() {
            if tried.insert((crash.clone(), promised.as_ref().map(|record| record.nonce))) {
                recover(&crash, promised.as_ref(), coming.as_ref())
                    .map_err(|why| format!("a crash after call {n} leaves {why}"))?;
            }
        }
    }
    Ok(tried.len())
}

/// Reads what a crash left, and writes over it.
fn recover(
    crash: &[(OsString, usize, Vec<u8>)],
    promised: Option<&Record>,
    coming: Option<&Record>,
) -> Result<(), String> {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(base).unwrap();
    let mut laid = BTreeMap::new();
    for (name, file, bytes) in crash {
        let path = dir.path().join(name);
        match laid.get(file) {
            Some(first) => fs::hard_link(first, &path).unwrap(),
            None => fs::write(&path, bytes).unwrap(),
        }
        laid.entry(*file).or_insert(path);
    }
    let place = Place::parse(&dir.path().join("jobs")).unwrap();
    let directory = Directory::open(&place.directory).unwrap();
    let store = Store { place: &place, disk: &directory };
    let (go, next) = (|| Ok(()), record(99));
    let wrote = match store.read() {
        Ok(Seen::Absent) if promised.is_none() => store.create(1, &next, &go),
        Ok(Seen::Present(state, header, found)) => {
            let known = [promised, coming].contains(&Some(&found));
            if !known || header.floor != 5 {
                return Err(format!("neither the old nor the new record: {found:?}"));
            }
            store.replace(state, header, &next, &go)
        }
        Ok(Seen::Unreadable(why, _)) => return Err(why),
        other => return Err(format!("{other:?}")),
    };
    match (wrote, store.read()) {
        (Ok(Wrote::Written(state, _)), Ok(Seen::Present(there, _, found)))
            if there == state && found == next =>
        {
            Ok(())
        }
        other => Err(format!("cannot go on: {other:?}")),
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_old_record_or_the_new() {
    let calls = run();
    let tried = check(&calls).unwrap();
    println!("{} calls, {tried} different ends", calls.len());
    assert!(tried > 100);
}

/// The checker must find each of these.
#[test]
fn a_write_in_the_wrong_order_is_caught() {
    let calls = run();
    let without = |dropped: &dyn Fn(usize) -> bool| -> Vec<Call> {
        let kept = calls.iter().enumerate().filter(|(n, _)| !dropped(*n));
        kept.map(|(_, call)| call.clone()).collect()
    };
    let next_change = |n: usize| {
        calls[n + 1..].iter().find(|call| !matches!(call, Call::Overwrite(..) | Call::Sync(_)))
    };
    let is_sync = |n: usize| calls[n] == Call::SyncDirectory;
    let mut hasty = calls.clone();
    for n in 1..hasty.len() {
        if matches!(hasty[n], Call::Overwrite(..)) && hasty[n - 1] == Call::SyncDirectory {
            hasty.swap(n - 1, n);
        }
    }
    let broken = [
        ("copy for people written before the baton's name is on the disk", hasty),
        ("records not synced", without(&|n| matches!(calls[n], Call::Sync(_)))),
        ("directory never synced", without(&is_sync)),
        (
            "directory not synced before the baton moves",
            without(&|n| is_sync(n) && matches!(next_change(n), Some(Call::Rename(..)))),
        ),
        (
            "directory not synced before the lock is linked",
            without(&|n| is_sync(n) && matches!(next_change(n), Some(Call::Link(..)))),
        ),
        (
            "directory not synced before the acknowledgement",
            without(&|n| {
                is_sync(n) && !matches!(next_change(n), Some(Call::Rename(..) | Call::Link(..)))
            }),
        ),
    ];
    for (what, calls) in broken {
        let caught = check(&calls).expect_err(what);
        println!("{what}: {caught}");
    }
}

//! Where candidates run, and what else the machine is busy with.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::ACTOR;

/// What a candidate sees of the machine.
#[derive(Clone, Debug)]
pub(crate) enum World {
    /// Everything.
    Here,
    /// Everything, as this user.
    User(u32),
    /// Its own processes only, and of these only the ones that it may look at: `hidepid=2`, as this
    /// user.
    Hidden(u32),
    /// A `/proc` mounted with these options, as this user.
    Mounted(u32, &'static str),
    /// A pid namespace of its own, below a first process that is nobody's, with its own `/proc`.
    Namespace,
    /// The same with the `/proc` of the namespace around it.
    Nested,
    /// As the first process of such a namespace.
    NestedFirst,
    /// No `/proc` at all.
    WithoutProc,
}

/// A user whom nobody else has, neither in this process nor in another one that runs these tests:
/// all that is theirs may be ended at one stroke.
pub(crate) fn new_user() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(next < USERS, "more users than one process of tests may have");
    100_000 + std::process::id() * USERS + next
}

/// Of each process of tests.
const USERS: u32 = 100;

/// Makes the world in which its arguments then run.
const MOUNTED: &str = r#"mount -t proc -o "$1" proc /proc || exit 1
uid=$2; shift 2
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@""#;

const WITHOUT_PROC: &str = r#"mount -t tmpfs none /proc || exit 1
exec "$@""#;

/// A first process that stays: with it the kernel would end everything else.
const INIT: &str = r#""$@" & wait $!; echo $? >"$CODE"; while :; do sleep 1000; done"#;

impl World {
    /// # Panics
    /// This user cannot make it.
    pub(super) fn check(&self) {
        assert!(
            matches!(self, Self::Here) || rustix::process::geteuid().is_root(),
            "this test makes namespaces and becomes other users: run it as root, as CI does"
        );
    }

    /// Its first process stays when the supervisor is gone.
    pub(super) fn has_init(&self) -> bool {
        matches!(self, Self::Namespace | Self::Nested)
    }

    /// Ends everything of a user that only one test uses, at one stroke: what forks fast is not
    /// caught one by one.
    pub(super) fn empty(&self) {
        if let Self::User(uid) | Self::Hidden(uid) | Self::Mounted(uid, _) = self {
            let uid = uid.to_string();
            let mut kill = Command::new("setpriv");
            kill.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "kill", "-KILL", "-1"]);
            let _ = kill.stderr(Stdio::null()).status();
        }
    }

    /// Where this world can start the command under test: in `dir`, unless it may go where it was
    /// built.
    pub(crate) fn program(&self, dir: &Path) -> PathBuf {
        let original = program();
        if !matches!(self, Self::User(_) | Self::Hidden(_) | Self::Mounted(..)) {
            return original;
        }
        let copy = dir.join("leasehold");
        if !copy.exists() && fs::hard_link(&original, &copy).is_err() {
            fs::copy(&original, &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// The command in this world, by way of a prefix; its arguments come next. `dir` is anybody's.
    pub(crate) fn command(&self, prefix: &[String], dir: &Path) -> Command {
        let program = &self.program(dir);
        let mut words: Vec<String> = Vec::new();
        let mut add = |these: &[&str]| words.extend(these.iter().map(|word| (*word).to_owned()));
        let private = ["unshare", "-m", "--propagation", "private", "sh", "-c"];
        let init = ["sh", "-c", INIT, "sh"];
        match self {
            Self::Here => {}
            Self::User(uid) => {
                let uid = uid.to_string();
                add(&["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"]);
            }
            Self::Hidden(uid) => {
                add(&private);
                add(&[MOUNTED, "sh", "hidepid=2", &uid.to_string()]);
            }
            Self::Mounted(uid, options) => {
                add(&private);
                add(&[MOUNTED, "sh", options, &uid.to_string()]);
            }
            Self::Namespace => {
                add(&["unshare", "-pf", "--kill-child", "--mount-proc"]);
                add(&init);
            }
            Self::Nested => {
                add(&["unshare", "-pf", "--kill-child"]);
                add(&init);
            }
            Self::NestedFirst => add(&["unshare", "-pf", "--kill-child"]),
            Self::WithoutProc => {
                add(&private);
                add(&[WITHOUT_PROC, "sh"]);
            }
        }
        words.extend_from_slice(prefix);
        let mut command = match words.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEASEHOLD_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// The command under test; another build of it if `LEASEHOLD_TEST_PROGRAM` names one, such as an
/// older one on which a test should fail.
pub(crate) fn program() -> PathBuf {
    let other = std::env::var_os("LEASEHOLD_TEST_PROGRAM").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_leasehold").into())
}

/// Other processes of the machine, which end with this value, and with the test however it ends.
pub(crate) struct Company {
    child: Child,
    _input: ChildStdin,
}

impl Company {
    /// So many that sleep.
    pub(crate) fn crowd(count: usize) -> Self {
        Self::start("crowd", count)
    }

    /// Two that compute for each core.
    pub(crate) fn busy() -> Self {
        Self::computing(2 * std::thread::available_parallelism().unwrap().get())
    }

    /// So many that compute.
    pub(crate) fn computing(count: usize) -> Self {
        Self::start("busy", count)
    }

    fn start(what: &str, count: usize) -> Self {
        let script = tempfile::NamedTempFile::new().unwrap();
        script.as_file().write_all(ACTOR.as_bytes()).unwrap();
        let mut command = Command::new("perl");
        command.arg(script.path()).args([what, &count.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{what} {count}");
        let input = child.stdin.take().unwrap();
        Self { child, _input: input }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

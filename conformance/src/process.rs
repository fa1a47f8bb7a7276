//! A candidate in a process of its own, for what only a process can suffer: SIGKILL and SIGSTOP.
//!
//! The process is this very program, called with a hidden word. It tells of its terms on standard
//! output, stamped by the clock of the machine, and ends when its standard input does, so that none
//! outlives the suite.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use leasehold::timing::Time;
use leasehold::{Elector, Term, TimingSettings, Token};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::history::{History, What};
use crate::verdict::Problem;

/// The hidden word: `PROGRAM __conformance-candidate IDENTITY MILLISECONDS`.
const WORD: &str = "__conformance-candidate";

/// Its lock. A password in the URL is nothing for a command line.
const URL: &str = "LEASEHOLD_CONFORMANCE_LOCK";

/// A candidate in a process of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    name: Arc<str>,
    child: Child,
    history: History,
}

/// What the process tells.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Up { at: u64, token: Token, until: u64 },
    Extended { at: u64, token: Token, until: u64 },
    Down { at: u64, token: Token, why: String },
    Checked { at: u64, token: Token, leads: bool },
}

impl Process {
    /// Starts a candidate that contends at once.
    ///
    /// # Errors
    /// No process can be started.
    pub fn start(
        name: &str,
        identity: &str,
        url: &str,
        lease: Duration,
        history: &History,
    ) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| {
            Problem::Vacuous(format!("cannot start a candidate's process: {error}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let milliseconds = lease.as_millis().to_string();
        let mut child = Command::new(program)
            .args([WORD, identity, &milliseconds])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own is orphaned with us: a stopped member of it is then ended by the
            // kernel.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().expect("it is piped");
        let (node, noted): (Arc<str>, History) = (name.into(), history.clone());
        thread::spawn(move || listen(BufReader::new(output), &node, &noted));
        Ok(Self { name: name.into(), child, history: history.clone() })
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and its end awaited: from then on nothing of it runs.
    pub fn kill(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.history.note(&self.name, What::Died);
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        self.history.note(&self.name, What::Stopped(true));
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.history.note(&self.name, What::Stopped(false));
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // Not yet waited for, so the id is still its own.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The project's own command: named by `LEASEHOLD_PROGRAM`, or built beside this program.
#[must_use]
pub fn command_under_test() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LEASEHOLD_PROGRAM") {
        return Some(named.into());
    }
    let this = std::env::current_exe().ok()?;
    // Tests lie one directory deeper.
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("leasehold"))
        .find(|it| it.is_file())
}

fn listen(output: impl BufRead, node: &Arc<str>, history: &History) {
    for line in output.lines() {
        let Ok(line) = line else { return };
        // Anything else on standard output is not ours.
        let Ok(said) = serde_json::from_str(&line) else { continue };
        let (at, what) = match said {
            Said::Up { at, token, until } => (at, What::Up { token, until: Time(until) }),
            Said::Extended { at, token, until } => {
                (at, What::Extended { token, until: Time(until) })
            }
            Said::Down { at, token, why } => (at, What::Down { token, why }),
            Said::Checked { at, token, leads } => (at, What::Checked { token, leads }),
        };
        history.note_at(Time(at), node, what);
    }
}

/// Whether this program was called as a candidate's process; then it is one, and ends with it.
#[must_use]
pub fn candidate_if_asked() -> Option<ExitCode> {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let [_, word, identity, milliseconds] = arguments.as_slice() else { return None };
    if word != WORD {
        return None;
    }
    let url = std::env::var(URL).unwrap_or_default();
    let lease = milliseconds.parse().map(Duration::from_millis).unwrap_or(Duration::ZERO);
    thread::spawn(|| {
        // Ends with the suite, whatever becomes of that.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(contend(&url, identity, lease)).map_err(|error| error.to_string())
    });
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

async fn contend(url: &str, identity: &str, lease: Duration) -> Result<(), leasehold::Error> {
    let lock = leasehold::connect(url).await?;
    let timing = TimingSettings::lease_duration(lease);
    let elector = Elector::builder(lock).identity(identity).timing(timing).build()?;
    elector.run(async |term: Term| told(term).await).await
}

/// The work of a term: it tells of it, asks `check()` every ten milliseconds, and stops when it
/// should.
async fn told(term: Term) {
    use leasehold::timing::Clock as _;
    let clock = leasehold::timing::BootClock::new();
    let token = term.token();
    let mut until = term.deadlines().until;
    tell(&Said::Up { at: clock.now().0, token, until: until.0 });
    let why = loop {
        tokio::select! {
            biased;
            reason = term.stopped() => break format!("{reason:?}"),
            Some(deadlines) = term.extended(until) => {
                until = deadlines.until;
                tell(&Said::Extended { at: clock.now().0, token, until: until.0 });
            }
            () = clock.sleep_until(clock.now() + Duration::from_millis(10)) => {
                let at = clock.now().0;
                // Nobody is told of what goes without saying.
                if Time(at) >= until {
                    tell(&Said::Checked { at, token, leads: term.check().is_ok() });
                }
            }
        }
    };
    let why = if why == "Requested" { "Resigned".to_owned() } else { why };
    tell(&Said::Down { at: clock.now().0, token, why });
}

fn tell(said: &Said) {
    let mut line = serde_json::to_vec(said).expect("it has only string keys");
    line.push(b'\n');
    // Whoever listens is gone only when the suite is.
    let _ = std::io::stdout().write_all(&line);
    let _ = std::io::stdout().flush();
}

//! The flags of what looks and explains.

use std::time::Duration;

use clap::Args;
use leasehold::doctor::listable;

use super::{LockArgs, OutputFormat, TimingArgs, duration};

/// In which form to answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// The form of the answer
    #[arg(
        short,
        long,
        env = "LEASEHOLD_OUTPUT",
        value_name = "FORM",
        default_value = "text",
        hide_env = true
    )]
    pub output: OutputFormat,
}

const EXPLAIN: &str = "Give the durations that `run` is given. Nothing is contacted: with --lock, \
what matters is what kind of store it names.

Exits with 0, or with 78 if the timing breaks a rule; then the rule and the nearest valid set are \
printed.";

/// `leasehold explain`.
#[derive(Clone, Args)]
#[command(after_help = EXPLAIN)]
pub struct ExplainArgs {
    /// The lock whose store it is about; nothing is contacted
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: Option<String>,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// How many candidates there are
    #[arg(long, env = "LEASEHOLD_CANDIDATES", value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=10_000), allow_negative_numbers = true,
        hide_env = true)]
    pub candidates: u64,
    /// In which form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The URL may hold a password.
impl std::fmt::Debug for ExplainArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExplainArgs")
    }
}

const WATCH: &str = "It only reads, so permission to read is enough, and it tells the truth or \
nothing: when the last sign of life is too old to vouch for anybody, the leader is unknown, and \
not nobody.

Ends on a signal, and quietly when nobody reads its output any more.";

/// `leasehold watch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = WATCH)]
pub struct WatchArgs {
    /// Which lock.
    #[command(flatten)]
    pub lock: LockArgs,
    /// In which form; with json one object a line.
    #[command(flatten)]
    pub output: OutputArgs,
}

const BENCH: &str = "Two candidates in this process hand a lock to each other that is made next to \
the one named, and removed. Times are those of this host and this moment; a store that others use \
at the time shows their load too.";

/// `leasehold bench`.
#[derive(Clone, Debug, Args)]
#[command(after_help = BENCH)]
pub struct BenchArgs {
    /// Which store: the bench makes a lock next to this one, and never touches it itself
    #[command(flatten)]
    pub lock: LockArgs,
    /// How often to measure each
    #[arg(long, env = "LEASEHOLD_ROUNDS", value_name = "N", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true,
        hide_env = true)]
    pub rounds: u32,
    /// When to give up
    #[arg(long, env = "LEASEHOLD_TIMEOUT", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, default_value = "5m", hide_env = true)]
    pub timeout: Duration,
    /// In which form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// With the places that this build can list.
fn list_help() -> String {
    let places = listable().map(|(form, found)| format!("  {form:28} {found}\n"));
    format!("What is listed:\n{}\n{LIST}", places.collect::<String>())
}

const LIST: &str = "One read of each lock, which says what `leasehold status` says. Elections of \
other programs are shown too. Needs the right to read all of the prefix, or the verb list, which \
no candidate needs.

Exits with 0 if each could be read, 78 if one is broken, and else with 69 or 77 if one could not \
be read.";

/// `leasehold list`.
#[derive(Clone, Args)]
#[command(after_help = list_help())]
pub struct ListArgs {
    /// Where to look, in one of the forms below
    #[arg(env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: String,
    /// In which form; with json one object a line.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The URL may hold a password.
impl std::fmt::Debug for ListArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListArgs")
    }
}

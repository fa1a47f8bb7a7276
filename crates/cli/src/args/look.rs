//! The flags of what looks and explains.

use std::time::Duration;

use clap::Args;

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

/// `leasehold explain`.
#[derive(Clone, Args)]
pub struct ExplainArgs {
    /// The lock whose store it is about; nothing is contacted
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: Option<String>,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// How many candidates there are
    #[arg(long, env = "LEASEHOLD_CANDIDATES", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000), allow_negative_numbers = true, hide_env = true)]
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

/// `leasehold watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Which lock.
    #[command(flatten)]
    pub lock: LockArgs,
    /// In which form; with json one object a line.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `leasehold bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Which store: the bench makes a lock beside this one, and never touches it itself
    #[command(flatten)]
    pub lock: LockArgs,
    /// How often to measure each
    #[arg(long, env = "LEASEHOLD_ROUNDS", value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true, hide_env = true)]
    pub rounds: u32,
    /// When to give up
    #[arg(long, env = "LEASEHOLD_TIMEOUT", value_name = "TIME", value_parser = duration, allow_hyphen_values = true, default_value = "5m", hide_env = true)]
    pub timeout: Duration,
    /// In which form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `leasehold list`.
#[derive(Clone, Args)]
pub struct ListArgs {
    /// Where to look: file:DIRECTORY, etcd://host:2379/prefix, k8s://namespace/
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

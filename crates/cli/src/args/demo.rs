//! The flags of the demonstration.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::TimingArgs;

const HELP: &str = "Three candidates in this process contend for one lock, each on a way of its \
own to the store; keys kill, freeze and cut them off. Two resources are written to by whoever \
leads: one takes all it is given, one compares fencing tokens.

A candidate that is killed here ends within this process, so that the lock is free when its lease \
is over, also on file:, where the end of a process frees it at once.

The lease duration is 5 s here unless one is given, short enough to watch.

It ends with what a checker says of all that happened. Exits with 0 if nothing is wrong with it, \
and else with 80; with 69 or 77 at once if the store cannot be read.";

/// `leasehold demo`.
#[derive(Clone, Args)]
#[command(after_help = HELP)]
pub struct DemoArgs {
    /// The lock [default: a file in a new directory, or with --plain one in memory]
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: Option<String>,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// Tell a story as lines, without a terminal: in memory and virtual time, so that a seed tells
    /// the same again
    #[arg(long, env = "LEASEHOLD_PLAIN", value_parser = BoolishValueParser::new(), hide_env = true)]
    pub plain: bool,
    /// What happens in the story
    #[arg(
        long,
        env = "LEASEHOLD_SEED",
        value_name = "N",
        default_value_t = 1,
        requires = "plain",
        hide_env = true
    )]
    pub seed: u64,
    /// How long the story is
    #[arg(long, env = "LEASEHOLD_SECONDS", value_name = "N", default_value_t = 60,
        requires = "plain", value_parser = clap::value_parser!(u64).range(1..=3600),
        hide_env = true)]
    pub seconds: u64,
    /// Draw the story into this file, as SVG
    #[arg(long, env = "LEASEHOLD_SVG", value_name = "FILE", requires = "plain", hide_env = true)]
    pub svg: Option<std::path::PathBuf>,
}

/// The URL may hold a password.
impl std::fmt::Debug for DemoArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DemoArgs")
    }
}

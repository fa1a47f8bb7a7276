//! The flags of the demonstration.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::TimingArgs;

/// `leasehold demo`.
#[derive(Clone, Args)]
pub struct DemoArgs {
    /// The lock [default: a file in a new directory, or with --plain one in memory]
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: Option<String>,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// Tell a story as lines, without a terminal: in memory and virtual time, so that a seed tells the same again
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
    #[arg(long, env = "LEASEHOLD_SECONDS", value_name = "N", default_value_t = 60, requires = "plain", value_parser = clap::value_parser!(u64).range(1..=3600), hide_env = true)]
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

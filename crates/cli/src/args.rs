//! The command line. Every flag is also a variable `LEASEHOLD_<FLAG>`.

#[cfg(feature = "demo")]
mod demo;
mod look;

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use leasehold::TimingSettings;
use leasehold::status::printable;
use leasehold::url::LockUrl;

#[cfg(target_os = "linux")]
use crate::guard::cgroup;

#[cfg(feature = "demo")]
pub use demo::DemoArgs;
pub use look::{BenchArgs, ExplainArgs, ListArgs, OutputArgs, WatchArgs};

/// Run a command while this process leads.
#[derive(Debug, Parser)]
#[command(
    name = "leasehold",
    version = crate::version::VERSION,
    long_version = crate::version::long_version(),
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(after_help = "Every flag is also an environment variable: --lease-duration is \
        LEASEHOLD_LEASE_DURATION.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// How it talks about it.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Run CMD while this process leads, and stop it before the lease can pass on
    Run(RunArgs),
    /// Say who leads: exit 0 if somebody does, 75 if nobody does, 69 if it is unknown
    Status(StatusArgs),
    /// Say who leads, and every change as it happens
    Watch(WatchArgs),
    /// Explain a timing: when work is stopped, the longest gap without a leader, and the request
    /// cost
    Explain(ExplainArgs),
    /// Say whether the lock can be relied on: the store, permissions, latency, timing
    Doctor(DoctorArgs),
    /// Measure how long taking, renewing, releasing and handing over take
    Bench(BenchArgs),
    /// Show the locks of a directory, a prefix or a namespace, and who holds each
    List(ListArgs),
    /// Print completions for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for man -l -
    Man {
        /// On this subcommand
        subcommand: Option<String>,
    },
    /// Watch three candidates in this terminal, and kill, freeze and cut them off
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Run the conformance cases against your own store, on scratch locks next to the one that is
    /// named
    #[cfg(feature = "conformance")]
    Conformance(ConformanceArgs),
}

/// Logs, on standard error.
#[derive(Clone, Copy, Debug, Args)]
pub struct LogArgs {
    /// The form of log lines
    #[arg(
        long,
        global = true,
        env = "LEASEHOLD_LOG_FORMAT",
        default_value = "text",
        value_name = "FORM",
        hide_env = true
    )]
    pub log_format: LogFormat,
    /// Only warnings and errors
    #[arg(short, long, global = true, env = "LEASEHOLD_QUIET",
        value_parser = BoolishValueParser::new(), hide_env = true)]
    pub quiet: bool,
    /// More; twice for everything
    #[arg(short, long, global = true, env = "LEASEHOLD_VERBOSE", action = clap::ArgAction::Count,
        conflicts_with = "quiet", hide_env = true)]
    pub verbose: u8,
    /// Whether what is printed is coloured; auto is only on a terminal, and not with NO_COLOR
    #[arg(
        long,
        global = true,
        env = "LEASEHOLD_COLOR",
        default_value = "auto",
        value_name = "WHEN",
        hide_env = true
    )]
    pub color: Colour,
}

/// Whether what is printed is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which lock.
#[derive(Clone, Args)]
pub struct LockArgs {
    /// The lock, such as file:/var/lock/nightly; put a URL with a password in LEASEHOLD_LOCK
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: String,
}

/// The URL may hold a password.
impl std::fmt::Debug for LockArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockArgs")
    }
}

/// `leasehold run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN)]
pub struct RunArgs {
    /// Which lock.
    #[command(flatten)]
    pub lock: LockArgs,
    /// The name of this candidate [default: host name and process id, in a pod its name]
    #[arg(long, env = "LEASEHOLD_IDENTITY", value_name = "ID", hide_env = true)]
    pub identity: Option<String>,
    /// The address at which others reach this candidate while it leads; observers read it
    #[arg(long, env = "LEASEHOLD_ADVERTISE", value_name = "URL", hide_env = true)]
    pub advertise: Option<String>,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// How long CMD may take to stop when this process is asked to stop; it keeps leading meanwhile
    #[arg(long, env = "LEASEHOLD_DRAIN_TIMEOUT", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, default_value = "30s", hide_env = true)]
    pub drain_timeout: Duration,
    /// How long CMD may take to stop when another leader is seen, within the stop grace
    #[arg(long, env = "LEASEHOLD_LOSS_GRACE", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, default_value = "0s", hide_env = true)]
    pub loss_grace: Duration,
    /// A control group of its own for CMD, which is killed with one write, however fast it forks:
    /// if this process may make one, never, or always
    #[cfg(target_os = "linux")]
    #[arg(
        long,
        env = "LEASEHOLD_CGROUP",
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_env = true
    )]
    pub cgroup: cgroup::Mode,
    /// Exit when leadership is lost instead of contending again
    #[arg(long, env = "LEASEHOLD_ONCE", value_parser = BoolishValueParser::new(), hide_env = true)]
    pub once: bool,
    /// Contend again when CMD ends by itself
    #[arg(long, env = "LEASEHOLD_RESTART", value_parser = BoolishValueParser::new(),
        conflicts_with = "once", hide_env = true)]
    pub restart: bool,
    /// Exit if the lock is held by another
    #[arg(long = "try", env = "LEASEHOLD_TRY", value_parser = BoolishValueParser::new(),
    hide_env = true)]
    pub give_up: bool,
    /// Give up after this long
    #[arg(long, env = "LEASEHOLD_TIMEOUT", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, conflicts_with = "give_up", hide_env = true)]
    pub timeout: Option<Duration>,
    /// The exit code for a lock held by another, with --try and --timeout
    #[arg(long, env = "LEASEHOLD_CONFLICT_EXIT_CODE", value_name = "N",
        default_value_t = crate::exit::HELD, allow_negative_numbers = true, hide_env = true)]
    pub conflict_exit_code: u8,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// The timing of an election; what is not given is derived from the lease duration.
#[derive(Clone, Debug, Args)]
pub struct TimingArgs {
    /// How long others wait after the last sign of life [default: 15s, on Kubernetes 21s]
    #[arg(long, env = "LEASEHOLD_LEASE_DURATION", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub lease_duration: Option<Duration>,
    /// When CMD is told to stop if no renewal succeeds [default: 2/3 of the lease duration]
    #[arg(long, env = "LEASEHOLD_RENEW_DEADLINE", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub renew_deadline: Option<Duration>,
    /// How often to renew [default: 2/15 of the lease duration, or the store's own share, at most
    /// 10s]
    #[arg(long, env = "LEASEHOLD_RETRY_PERIOD", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub retry_period: Option<Duration>,
    /// How long one request may take [default: 2/15 of the lease duration, at most 5s]
    #[arg(long, env = "LEASEHOLD_REQUEST_TIMEOUT", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub request_timeout: Option<Duration>,
    /// How long CMD may take to stop before it is killed, after a loss, and what it leaves behind
    /// [default: the rest, at most 30s]
    #[arg(long, env = "LEASEHOLD_STOP_GRACE", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub stop_grace: Option<Duration>,
    /// What is left for unlike clocks and the kill itself [default: 1/15 of the lease duration, at
    /// most 4s, at least 250ms]
    #[arg(long, env = "LEASEHOLD_CLOCK_MARGIN", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, hide_env = true)]
    pub clock_margin: Option<Duration>,
}

impl From<&TimingArgs> for TimingSettings {
    fn from(args: &TimingArgs) -> Self {
        Self {
            lease_duration: args.lease_duration,
            renew_deadline: args.renew_deadline,
            retry_period: args.retry_period,
            request_timeout: args.request_timeout,
            stop_grace: args.stop_grace,
            clock_margin: args.clock_margin,
        }
    }
}

/// `leasehold status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Which lock.
    #[command(flatten)]
    pub lock: LockArgs,
    /// How long to wait for the store
    #[arg(long, env = "LEASEHOLD_REQUEST_TIMEOUT", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true, default_value = "5s", hide_env = true)]
    pub request_timeout: Duration,
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

const DOCTOR: &str = "\
Give the durations that `run` will be given: each rule is shown with its numbers.

The lock itself is only read. Two candidates race for a scratch lock next to it, which proves that \
the store compares and swaps, and which is removed.

Exits with 0 if all is ok or a warning; else the first problem decides: 69 the store, or a \
majority of it, cannot be reached, 77 it denied access, 78 the configuration or the store is not \
fit.";

/// `leasehold doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DOCTOR)]
pub struct DoctorArgs {
    /// Which lock.
    #[command(flatten)]
    pub lock: LockArgs,
    /// The timing.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// The form of the findings
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

const RUN: &str = "\
Exits with CMD's own code, or 128+n if CMD, or a run that waits, was ended by signal n. Without \
CMD's own: 64 the command line is wrong, 69 the store does not answer, 75 another holds the lock \
(both with --try or --timeout), 76 leadership was lost and CMD stopped in time (--once), 77 the \
store denied access, 78 the configuration or what is stored is wrong, 79 CMD outlived the lease, \
80 an internal error, 126 and 127 CMD cannot be started.";

#[cfg(feature = "conformance")]
const CONFORMANCE: &str = "Nothing is done to the servers, and nothing to the lock itself: cases \
that need that are listed as not tested. A host that is busy with other work makes cases late. A \
signal ends it, and what the cases made is removed; a second one ends it at once.

Exits with 0 if every case that ran ended as expected and with 78 if one did not; 64 the command \
line is wrong, 69 the store cannot be reached, or went away meanwhile, 77 it denied access, 78 the \
URL is wrong, 80 the verdicts cannot be written, 128+n it was ended by signal n.";

/// `leasehold conformance`.
#[cfg(feature = "conformance")]
#[derive(Clone, Args)]
#[command(after_help = CONFORMANCE)]
pub struct ConformanceArgs {
    /// A lock, and cases by name, group or words of their title; without either LEASEHOLD_LOCK, and
    /// all cases
    #[arg(value_names = ["URL", "CASES"], num_args = 0..=2)]
    pub words: Vec<String>,
    /// The lock: the cases use locks whose names begin with its own
    #[arg(long, env = "LEASEHOLD_LOCK", value_name = "URL", hide_env_values = true)]
    pub lock: Option<String>,
    /// The slow and the random cases too
    #[arg(long, env = "LEASEHOLD_SLOW", value_parser = BoolishValueParser::new(), hide_env = true)]
    pub slow: bool,
    /// Where randomness begins
    #[arg(long, env = "LEASEHOLD_SEED", value_name = "N", default_value_t = 1, hide_env = true)]
    pub seed: u64,
}

#[cfg(feature = "conformance")]
impl ConformanceArgs {
    /// The lock's URL, and which cases.
    ///
    /// # Errors
    /// There is no URL, or one word too many.
    pub fn chosen(&self) -> Result<(&str, Option<&str>), String> {
        let mut words = self.words.iter().map(String::as_str).peekable();
        // No case has a colon in its name, and no URL is without.
        let typed = words.next_if(|word| word.contains(':'));
        let url = typed.or(self.lock.as_deref()).ok_or(
            "no lock is named: write its URL, such as file:/var/lock/nightly, or set \
             LEASEHOLD_LOCK",
        )?;
        match (words.next(), words.next()) {
            (cases, None) => Ok((url, cases)),
            (_, Some(word)) => {
                Err(format!("{word:?} is one word too many; several cases go by commas"))
            }
        }
    }
}

/// The URL may hold a password.
#[cfg(feature = "conformance")]
impl std::fmt::Debug for ConformanceArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConformanceArgs")
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Reads the command line and the environment.
///
/// # Errors
/// Help, the version, or what is wrong: to be printed.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = without_void_variables(Cli::command(), &arguments);
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            return Err(explained(&mut command, harmless(error), &typed_flags(&arguments)));
        }
    };
    if let Some((_, matches)) = matches.subcommand() {
        refuse_visible_password(matches)
            .map_err(|text| command.error(ErrorKind::ValueValidation, text))?;
    }
    Cli::from_arg_matches(&matches)
}

/// Flags that exclude each other: one on the command line beats the other's variable.
const RIVALS: [(&str, &str); 3] = [("try", "timeout"), ("once", "restart"), ("quiet", "verbose")];

/// A variable that is empty, or says no to a flag, is as good as none. So is one whose rival was
/// typed.
fn without_void_variables(command: clap::Command, arguments: &[OsString]) -> clap::Command {
    let typed = typed_flags(arguments);
    let is_void = |arg: &clap::Arg| {
        let Some(value) = arg.get_env().and_then(std::env::var_os) else { return false };
        let value = value.to_string_lossy().to_lowercase();
        let no = ["0", "false", "f", "no", "n", "off"].contains(&value.as_str());
        let rival = RIVALS.iter().find_map(|(one, other)| match arg.get_long() {
            Some(long) if long == *one => Some(*other),
            Some(long) if long == *other => Some(*one),
            _ => None,
        });
        value.is_empty()
            || no && !arg.get_action().takes_values()
            || rival.is_some_and(|rival| typed.contains(&rival))
    };
    let strip = move |arg: clap::Arg| if is_void(&arg) { arg.env(None::<&str>) } else { arg };
    command.mut_args(&strip).mut_subcommands(|command| command.mut_args(&strip))
}

/// The long flags on the command line, without dashes and values.
fn typed_flags(arguments: &[OsString]) -> Vec<&str> {
    let ours = arguments.iter().take_while(|argument| *argument != "--");
    let flags = ours.filter_map(|argument| argument.to_str()?.strip_prefix("--"));
    flags.map(|flag| flag.split_once('=').map_or(flag, |(flag, _)| flag)).collect()
}

/// A duration, as a flag takes it.
fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a number and its unit, such as 15s, 200ms, 2m or 1m30s";
    if text.contains(char::is_control) {
        return Err(format!("it has a control character in it, such as a newline; {FORM}"));
    }
    match humantime::parse_duration(text) {
        Ok(duration) => Ok(duration),
        Err(humantime::DurationError::NumberOverflow) if text.contains('.') => {
            Err(format!("it is too large, or finer than a nanosecond; {FORM}"))
        }
        Err(humantime::DurationError::NumberOverflow) => Err(format!("it is too large; {FORM}")),
        Err(_) if text.trim_start().starts_with('-') => {
            Err(format!("it is not a duration, and none is below zero; {FORM}"))
        }
        Err(_) => Err(format!("it is not a duration; {FORM}")),
    }
}

/// The longest argument that is repeated, in characters.
const LONGEST: usize = 200;

/// The error with what it repeats of the command line and of the environment fit to be shown, and
/// without passwords.
fn harmless(mut error: clap::Error) -> clap::Error {
    let shown = |text: &str| printable(&LockUrl::shown(text)).at_most(LONGEST).to_string();
    let repeated: Vec<(ContextKind, String)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) if shown(text) != *text => Some((kind, shown(text))),
            _ => None,
        })
        .collect();
    if !repeated.is_empty() {
        // These repeat it, too.
        error.insert(ContextKind::Suggested, ContextValue::None);
    }
    for (kind, text) in repeated {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// Says more where a general message would leave a user guessing.
fn explained(command: &mut clap::Command, error: clap::Error, typed: &[&str]) -> clap::Error {
    let not_text =
        |name: &OsString| std::env::var_os(name).is_some_and(|value| value.into_string().is_err());
    match error.kind() {
        ErrorKind::InvalidUtf8 => match variables().into_iter().find(not_text) {
            Some(name) => {
                let text = format!("the variable {} is not UTF-8", name.display());
                command.error(ErrorKind::InvalidUtf8, text)
            }
            None => error,
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
                return error;
            };
            let flag = argument.split([' ', '=', '.']).next().unwrap_or_default();
            let flag = flag.trim_start_matches('-');
            let name = format!("LEASEHOLD_{}", flag.replace('-', "_").to_uppercase());
            if typed.contains(&flag) || std::env::var_os(&name).is_none() {
                return error;
            }
            let text = error.to_string();
            let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            command.error(error.kind(), format!("in the variable {name}: {what}"))
        }
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) if !word.starts_with('-') => {
                let text = format!(
                    "unexpected argument '{word}'; the lock is given with --lock, and CMD and its \
                     arguments follow after --"
                );
                command.error(ErrorKind::UnknownArgument, text)
            }
            _ => error,
        },
        _ => error,
    }
}

/// The variables that stand for our flags: none of CMD's business.
#[must_use]
pub fn variables() -> Vec<OsString> {
    let command = Cli::command();
    let all = std::iter::once(&command).chain(command.get_subcommands());
    let names = all.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    names.map(OsString::from).collect()
}

fn refuse_visible_password(matches: &ArgMatches) -> Result<(), &'static str> {
    let lock: Option<&String> = matches.try_get_one("lock").ok().flatten();
    let is_typed = matches.try_contains_id("lock").unwrap_or_default()
        && matches.value_source("lock") == Some(ValueSource::CommandLine);
    let words = matches.try_get_many::<String>("words").ok().flatten().unwrap_or_default();
    if lock.filter(|_| is_typed).into_iter().chain(words).any(|url| LockUrl::shows_password(url)) {
        return Err(
            "the URL of the lock holds a password, or what looks like one, which every user of \
             this machine can see; set LEASEHOLD_LOCK instead",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent_and_all_flags_have_a_variable() {
        Cli::command().debug_assert();
        let names = variables();
        for name in ["LEASEHOLD_LOCK", "LEASEHOLD_TRY", "LEASEHOLD_LOG_FORMAT", "LEASEHOLD_OUTPUT"]
        {
            assert!(names.contains(&name.into()), "{name}");
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        for url in ["redis://u:secret@h/k", "redis://:secret@h/k", "x://h/k?a=b&password=secret"] {
            let error = parsed(&format!("leasehold run --lock {url} -- true")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("LEASEHOLD_LOCK"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        for url in ["file:/a:b@c", "redis://user@h/k", "etcd://h:2379/k", "file:///a:b@c"] {
            parsed(&format!("leasehold run --lock {url} -- true")).unwrap();
        }
    }

    #[cfg(feature = "conformance")]
    #[test]
    fn conformance_takes_its_lock_and_its_cases_in_either_way() {
        let chosen = |line: &str| {
            let Action::Conformance(args) = parsed(line).unwrap().action else { panic!() };
            args.chosen().map(|(url, cases)| (url.to_owned(), cases.map(str::to_owned)))
        };
        let of = |url: &str, cases: Option<&str>| (url.to_owned(), cases.map(str::to_owned));
        for (line, expected) in [
            ("leasehold conformance file:/a", of("file:/a", None)),
            ("leasehold conformance file:/a Q1,EX", of("file:/a", Some("Q1,EX"))),
            // As with LEASEHOLD_LOCK.
            ("leasehold conformance --lock file:/a Q1", of("file:/a", Some("Q1"))),
            ("leasehold conformance --lock file:/a file:/b Q1", of("file:/b", Some("Q1"))),
        ] {
            assert_eq!(chosen(line), Ok(expected), "{line}");
        }
        assert!(chosen("leasehold conformance Q1").unwrap_err().contains("no lock is named"));
        let words = chosen("leasehold conformance --lock file:/a Q1 Q2");
        assert!(words.unwrap_err().contains("one word too many"));
        let error = parsed("leasehold conformance redis://u:secret@h/k").unwrap_err().to_string();
        assert!(error.contains("LEASEHOLD_LOCK") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_duration_is_one_line() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["15s\n", "\n15s", "1m\n30s", "15s\u{7}"] {
            assert!(duration(text).unwrap_err().contains("control character"), "{text:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_command_is_left_to_it() {
        let cli = parsed("leasehold run --lock mem: -- cmd --lock x -q").unwrap();
        let Action::Run(args) = cli.action else { panic!() };
        assert_eq!(args.command, ["cmd", "--lock", "x", "-q"]);
        assert_eq!(args.conflict_exit_code, 75);
        assert!(!cli.log.quiet);
    }

    #[test]
    fn a_command_without_the_dashes_is_told_of_them() {
        let error = parsed("leasehold run --lock file:x echo hi").unwrap_err();
        assert!(error.to_string().contains("follow after --"), "{error}");
    }

    #[test]
    fn a_missing_lock_or_command_is_an_error() {
        for line in
            ["leasehold run -- true", "leasehold run --lock mem:", "leasehold", "leasehold frob"]
        {
            parsed(line).unwrap_err();
        }
    }
}

//! The project's commands: `cargo xtask <command>`.
//!
//! - `main.rs`: the commands and their arguments.
//! - `test.rs`: the steps of `cargo xtask test`, in order.
//! - `steps.rs`: runs named steps and counts them.
//! - `cargo.rs`: cargo, called in this checkout.
//! - `fresh.rs`: a project of a user's, with each feature of the facade alone.
//! - `safety.rs`: runs the proof and writes its counts into docs/SAFETY.md.
//! - `servers.rs`: the real servers of the conformance suite.
//! - `conformance.rs`: the conformance suite.
//! - `sim.rs`: simulation of the election.
//! - `model.rs`: model checking of the election.
//! - `mutants.rs`: blind mutation of the election.
//! - `scratch.rs`: directories that go with a value.
//! - `size.rs`: how long a release build takes from cold, and how large it is.
//! - `tools.rs`: what a fresh machine lacks.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]

mod cargo;
mod conformance;
mod defects;
mod fresh;
mod model;
mod mutants;
mod other_systems;
mod own_store;
mod safety;
mod scratch;
mod servers;
mod sim;
mod size;
mod steps;
mod test;
mod tools;
mod width;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <command>

  test [--quick] [STEP...]  run every check and test, or only the steps named
       --quick              without the slow tests and checks: the inner loop
       --list               name the steps and run none
  servers [NAME]            install the servers that the conformance suite starts: etcd,
                            etcd-clock, etcd-go, kubernetes, client-go, client-go-endpoints,
                            redis
  conformance [OPTION...] [BACKEND|URL [FILTER]]
                            run the conformance suite; --help says how
  sim [ARGUMENT...]         simulate the election; --help says how
  model [ARGUMENT...]       explore every state of two candidates; --help says how
  mutants [FILE...]         change the election blindly; some test must fail. --help says how
                            it differs from sim --mutants
  safety                    run the proof and write its counts and pictures into docs/SAFETY.md
  size [--check]            release build of the command from cold: seconds and bytes
       --check              fail above 90 s or 6 MB
";

/// What a command ends with: an error is one message for a person.
type Outcome = Result<(), String>;

enum Command {
    Help,
    Test(test::Options),
    Safety,
    Servers(Option<String>),
    Conformance(Vec<String>),
    Sim(Vec<String>),
    Model(Vec<String>),
    Mutants(Vec<String>),
    Size { check: bool },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match parse(&arguments) {
        Ok(Command::Help) => {
            print!("{USAGE}");
            Ok(())
        }
        Ok(Command::Test(options)) => test::run(&options),
        Ok(Command::Safety) => safety::run(),
        Ok(Command::Servers(name)) => servers::run(name.as_deref()),
        Ok(Command::Sim(arguments)) => match sim::by_hand(&arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Ok(Command::Conformance(arguments)) => conformance::run(&arguments),
        Ok(Command::Model(arguments)) => model::run(&arguments),
        Ok(Command::Mutants(arguments)) => {
            mutants::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Ok(Command::Size { check }) => size::run(check),
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[&str]) -> Result<Command, String> {
    match arguments {
        [] | ["help" | "--help" | "-h", ..] => Ok(Command::Help),
        ["test", rest @ ..] => test::Options::parse(rest).map(Command::Test),
        ["sim", rest @ ..] => Ok(Command::Sim(owned(rest))),
        ["model", rest @ ..] => Ok(Command::Model(owned(rest))),
        ["mutants", rest @ ..] => Ok(Command::Mutants(owned(rest))),
        ["safety"] => Ok(Command::Safety),
        ["safety", other, ..] => Err(format!("safety does not know {other:?}")),
        ["servers"] => Ok(Command::Servers(None)),
        ["servers", name] if !name.starts_with('-') => {
            Ok(Command::Servers(Some((*name).to_owned())))
        }
        ["servers", other, ..] => Err(format!("servers takes one name, not {other:?}")),
        ["conformance", rest @ ..] => Ok(Command::Conformance(owned(rest))),
        ["size"] => Ok(Command::Size { check: false }),
        ["size", "--check"] => Ok(Command::Size { check: true }),
        ["size", other, ..] => Err(format!("size does not know {other:?}")),
        [other, ..] => Err(format!("there is no command {other:?}")),
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

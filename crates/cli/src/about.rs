//! What is generated from the definition of the command line: completions, the manual.

use clap::CommandFactory;
use clap_complete::Shell;
use leasehold::status::printable;
use leasehold::url::LockUrl;

use crate::args::Cli;
use crate::exit;
use crate::output::{answer, print_error};

/// Prints the completions of this shell. Returns the exit code.
#[must_use]
pub fn completions(shell: Shell) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "leasehold", &mut text);
    answer(&String::from_utf8_lossy(&text), 0)
}

/// Prints the page of the manual on this subcommand, or the whole command. Returns the exit code.
#[must_use]
pub fn manual(subcommand: Option<&str>) -> u8 {
    let mut command = Cli::command();
    command.build();
    let (name, found) = match subcommand {
        None => ("leasehold".to_owned(), Some(&command)),
        Some(name) => (format!("leasehold-{name}"), command.find_subcommand(name)),
    };
    let Some(found) = found.cloned() else {
        let asked = LockUrl::shown(subcommand.unwrap_or_default()).into_owned();
        print_error(&format!("there is no subcommand \"{}\"", printable(&asked)));
        return exit::USAGE;
    };
    // Its own name has static lifetime, and there are few.
    let page = clap_mangen::Man::new(found.name(name.leak() as &'static str));
    let mut text = Vec::new();
    match page.render(&mut text) {
        Ok(()) => answer(&String::from_utf8_lossy(&text), 0),
        Err(error) => {
            print_error(&format!("cannot write the manual: {error}"));
            exit::INTERNAL
        }
    }
}

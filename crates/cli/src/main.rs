//! The command `leasehold`.

use std::ffi::OsString;
use std::process::ExitCode;

use leasehold_cli::guard;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|a| a.to_str()) {
        Some(guard::process::SUBCOMMAND) => guard::process::main(&args[1..]),
        Some(guard::exec::SUBCOMMAND) => guard::exec::main(&args[1..]),
        _ => ExitCode::from(64),
    }
}

//! Every example runs to its end.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

#[path = "../examples/axum.rs"]
mod axum_example;
#[path = "../examples/run_once.rs"]
mod run_once;
#[path = "../examples/sqlite.rs"]
mod sqlite;
#[path = "../examples/threads.rs"]
mod threads;

#[test]
fn the_examples_run_to_their_end() {
    threads::main().unwrap();
    run_once::main().unwrap();
    axum_example::main().unwrap();
    sqlite::main().unwrap();
}

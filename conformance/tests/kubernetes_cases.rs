//! Cases of the slow tier that every run of the tests must show, in a shorter form: client-go and
//! ours on one lock.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/cases.rs"]
mod cases;

#[test]
fn a_fleet_of_client_go_and_ours() {
    cases::run("k8s", "UP2,UP4");
}

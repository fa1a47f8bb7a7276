//! Cases of the slow tier that every run of the tests must show: what etcd's own candidates and
//! ours do to each other, and that no single member's end is noticed.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/cases.rs"]
mod cases;

#[test]
fn peers_and_the_loss_of_a_member() {
    cases::run("etcd", "UP5,SV4");
}

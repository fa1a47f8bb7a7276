//! Cases of the slow tier that every run of the tests must show: a store that is restored, loses
//! power and is full, and a replica that missed a write.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/cases.rs"]
mod cases;

#[test]
fn a_server_that_is_restored_loses_power_and_is_full() {
    cases::run("redis", "FE5,SV3,SV8");
}

#[test]
fn a_replica_that_missed_a_write_is_promoted() {
    cases::run("redis-replicated", "SV5");
}

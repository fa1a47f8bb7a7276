//! The conformance suite: the same named cases for every backend, with faults, over real servers.

pub mod fixture;

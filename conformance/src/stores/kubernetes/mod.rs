//! Kubernetes: API servers over an etcd, and the two kinds of object that a lock may be kept in.

#[cfg(feature = "servers")]
pub mod fixture;
#[cfg(feature = "servers")]
mod target;

use super::{Started, Store};

#[cfg(feature = "servers")]
pub use fixture::{Admin, ClientGo, Kubernetes, Options};
#[cfg(feature = "servers")]
pub use target::KubernetesTarget;

pub(super) const STORES: &[Store] = &[
    Store {
        backend: "k8s",
        names: &["k8s", "k8s+lease"],
        by_default: false,
        expected: include_str!("expected.toml"),
        leaves_out: Some(&["FE6", "SV4", "SV5", "SV9", "UP4", "UP5", "SC3"]),
        start: start_lease,
    },
    Store {
        backend: "k8s+endpoints",
        names: &["k8s", "k8s+endpoints"],
        by_default: false,
        expected: include_str!("expected-endpoints.toml"),
        leaves_out: Some(&["FE6", "SV4", "SV5", "SV9", "UP2", "UP3", "UP5", "UP6", "SC3"]),
        start: start_endpoints,
    },
];

#[cfg(feature = "servers")]
fn start_lease() -> Started {
    let target = KubernetesTarget::start(leasehold::stores::k8s::Form::Lease);
    super::started(target, "cannot start Kubernetes")
}

#[cfg(feature = "servers")]
fn start_endpoints() -> Started {
    let target = KubernetesTarget::start(leasehold::stores::k8s::Form::Endpoints);
    super::started(target, "cannot start Kubernetes")
}

#[cfg(not(feature = "servers"))]
fn start_lease() -> Started {
    Err("this build starts no servers".to_owned())
}

#[cfg(not(feature = "servers"))]
use start_lease as start_endpoints;

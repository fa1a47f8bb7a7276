//! A lock in a Kubernetes `Lease`, or in the annotation of an `Endpoints` object that older clients
//! use, so that client-go and we contend on one object, both ways.
//!
//! **Guaranteed**, on a cluster whose etcd keeps a majority:
//! - Every write names the `resourceVersion` and the `uid` that it replaces; nothing is patched or
//!   deleted, and nothing listed, unless a person asks for a list ([`Kubernetes::locks`]).
//! - The token is above the `resourceVersion` that the term replaced, which grows across releases,
//!   deletions and re-creations of the object.
//! - Our own data stands in an annotation and counts only beside the very claim that it repeats: a
//!   client that keeps annotations while it takes over does not lead under our token.
//! - What others keep in the object, labels and annotations included, is kept by every write. Their
//!   edits are no sign of life of the holder.
//!
//! **Not guaranteed:**
//! - That client-go honours all of this. It stops its work up to `retry period + renew deadline`
//!   after its last renewal, it may erase the claim of its successor when it releases (our leader
//!   then asserts its claim again), and it takes a deleted Lease at once. Its tokens do not exist.
//! - Anything while somebody deletes the object: a leader asserts its claim again as soon as it
//!   looks; a candidate that never saw the holder may be faster.
//! - That an etcd restored from a backup is recognised by a process that was started after the
//!   restore: name the highest token known by `token_floor`.
//! - That a client-go of 0.26 or older waits as long as we ask: it waits as long as it is
//!   configured itself. Say so by `peer_lease_duration`. On Endpoints every client-go is that old.
//!
//! The client library needs to be told by the program for which version of Kubernetes it is built:
//! add a dependency on `k8s-openapi` with one of its version features, such as `earliest`.

mod access;
mod answer;
mod config;
mod doctor;
mod failure;
mod form;
mod list;
mod lock;
mod name;
mod object;
mod options;
mod plugin;
mod proxy;
mod reader;
mod redact;
mod said;
mod shared;
mod times;
mod trial;
mod watch;

pub use kube;

pub use form::Form;
pub use lock::KubernetesLock;
pub use options::{Kubernetes, KubernetesOptions};

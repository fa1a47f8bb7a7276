//! The stores of this build: how a lock in each is opened with a client and options of the
//! program's own, and the parameters of its URL.
//!
//! [`connect`](crate::connect) and a URL do for most programs.

#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "k8s")]
pub mod k8s;
#[cfg(feature = "redis")]
pub mod redis;

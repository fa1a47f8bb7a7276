//! The table of stores: the one place where a store is entered.

use std::fmt;

use crate::lock_url::{LockUrl, invalid};
use crate::opened::{Listed, Opened, StoreUrl};
use leasehold_core::{Capabilities, Error};

/// One store.
struct Store {
    /// The schemes of its URLs.
    schemes: &'static [&'static str],
    /// What this build makes of such a URL.
    build: Build,
    /// What can be listed: the form of a URL, and the locks that it finds.
    lists: &'static [(&'static str, &'static str)],
}

type Parse = fn(&LockUrl) -> Result<Box<dyn StoreUrl>, Error>;

enum Build {
    /// Every build has it.
    Always(Parse),
    /// A feature brings it; `None` in a build without that feature.
    Feature(&'static str, Option<Parse>),
    /// No version has it yet.
    ToCome,
}

/// [`Build::Feature`], with the type that parses the store's URLs.
macro_rules! feature {
    ($feature:literal, $url:ty) => {{
        #[cfg(feature = $feature)]
        {
            Build::Feature($feature, Some(parsed::<$url>))
        }
        #[cfg(not(feature = $feature))]
        {
            Build::Feature($feature, None)
        }
    }};
}

/// In the order in which they are listed.
const STORES: &[Store] = &[
    Store {
        schemes: &["etcd", "etcds"],
        build: feature!("etcd", crate::stores::etcd::EtcdUrl),
        lists: &[(
            "etcd://host:2379/jobs",
            "the elections whose names begin with jobs/, and jobs itself",
        )],
    },
    Store {
        schemes: &["file"],
        build: feature!("file", crate::stores::file::FileUrl),
        lists: &[("file:DIRECTORY", "the files in it, except hidden ones and those of tools")],
    },
    Store {
        schemes: &["k8s", "k8s+endpoints"],
        build: feature!("k8s", crate::stores::k8s::KubernetesUrl),
        lists: &[
            ("k8s://namespace/", "every Lease there"),
            ("k8s+endpoints://namespace/", "the Endpoints there with an election"),
        ],
    },
    Store {
        schemes: &["mem"],
        build: Build::Always(parsed::<crate::memory::MemoryUrl>),
        lists: &[],
    },
    Store {
        schemes: &[
            "redis",
            "redis+cluster",
            "redis+sentinel",
            "redis+unix",
            "rediss",
            "rediss+cluster",
            "rediss+sentinel",
        ],
        build: feature!("redis", crate::stores::redis::RedisUrl),
        lists: &[(
            "redis://host:6379/jobs",
            "the locks whose names begin with jobs/, and jobs itself",
        )],
    },
    Store { schemes: &["az"], build: Build::ToCome, lists: &[] },
    Store { schemes: &["gs"], build: Build::ToCome, lists: &[] },
    Store { schemes: &["s3"], build: Build::ToCome, lists: &[] },
];

fn parsed<U>(url: &LockUrl) -> Result<Box<dyn StoreUrl>, Error>
where
    U: for<'a> TryFrom<&'a LockUrl, Error = Error> + StoreUrl + 'static,
{
    Ok(Box::new(U::try_from(url)?))
}

impl Store {
    /// The parser of its URLs, if this build has one.
    fn parse(&self) -> Option<Parse> {
        match self.build {
            Build::Always(parse) | Build::Feature(_, Some(parse)) => Some(parse),
            Build::Feature(_, None) | Build::ToCome => None,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.schemes.join("/"))
    }
}

/// The schemes of this build.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    in_build().flat_map(|store| store.schemes).copied()
}

/// The URLs that [`list`](crate::doctor::list) takes in this build, for a help text: the form of
/// each, and the locks that it finds.
pub fn listable() -> impl Iterator<Item = (&'static str, &'static str)> {
    in_build().flat_map(|store| store.lists).copied()
}

fn in_build() -> impl Iterator<Item = &'static Store> {
    STORES.iter().filter(|store| store.parse().is_some())
}

impl LockUrl {
    /// Opens the lock that this URL names. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: this build has no such scheme, or a part of the URL is unknown or malformed.
    pub async fn open(&self) -> Result<Opened, Error> {
        let opened = self.opened().await?;
        opened.warn();
        Ok(opened)
    }

    /// The same, without a warning in the log.
    pub(crate) async fn opened(&self) -> Result<Opened, Error> {
        self.of_store()?.open().await
    }

    /// The name and the abilities of the lock, whether or not this host has access to its store.
    pub(crate) async fn imagined(&self) -> Result<(String, Capabilities), Error> {
        self.of_store()?.imagined().await
    }

    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Error> {
        self.of_store()?.list().await
    }

    pub(crate) async fn remove_scratch(&self) -> Result<(), Error> {
        self.of_store()?.remove_scratch().await
    }

    fn of_store(&self) -> Result<Box<dyn StoreUrl>, Error> {
        let scheme = self.scheme();
        let store = STORES.iter().find(|store| store.schemes.contains(&scheme));
        match store.and_then(Store::parse) {
            Some(parse) => parse(self),
            None => Err(invalid(unknown(scheme, store))),
        }
    }
}

fn unknown(scheme: &str, store: Option<&Store>) -> String {
    let have = schemes().collect::<Vec<_>>().join(", ");
    match store.map(|store| &store.build) {
        Some(Build::Feature(feature, _)) => format!(
            "this build has no {scheme}: locks (it has {have}); build it with the feature \
             {feature:?}: cargo add leasehold --features {feature}, or cargo install \
             leasehold-cli --features {feature}"
        ),
        Some(Build::ToCome | Build::Always(_)) => {
            format!("there are no {scheme}: locks in this version yet; this build has {have}")
        }
        None => format!("unknown scheme {scheme:?}; this build has {have}{}", hint(scheme)),
    }
}

/// A hint for a scheme that people may expect.
fn hint(scheme: &str) -> &'static str {
    match scheme {
        "valkey" => "; Valkey is redis:",
        "valkeys" => "; Valkey over TLS is rediss:",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    async fn refused(url: &str) -> String {
        let error = LockUrl::parse(url).unwrap().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        error.to_string()
    }

    #[test]
    fn a_scheme_is_one_stores() {
        let all: Vec<&str> = STORES.iter().flat_map(|store| store.schemes).copied().collect();
        for (at, scheme) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(scheme), "{scheme}");
        }
        assert!(schemes().any(|scheme| scheme == "mem"));
    }

    #[tokio::test]
    async fn an_unknown_scheme_lists_what_is_there() {
        let error = refused("zk://host/lock").await;
        assert!(error.contains("unknown scheme \"zk\"") && error.contains("mem"), "{error}");
        let error = refused("valkeys://host/lock").await;
        assert!(error.ends_with("; Valkey over TLS is rediss:"), "{error}");
        let error = refused("s3://host/lock").await;
        assert!(error.contains("no s3: locks in this version"), "{error}");
    }

    #[test]
    fn a_store_of_another_build_names_its_feature() {
        let store = Store { schemes: &["x"], build: Build::Feature("y", None), lists: &[] };
        assert!(unknown("x", Some(&store)).contains("cargo add leasehold --features y"));
    }

    #[tokio::test]
    async fn an_unknown_parameter_is_an_error() {
        for url in ["mem:a?x=1", "file:/tmp/a?ttl=3"] {
            assert!(refused(url).await.contains("unknown parameter"));
        }
    }

    #[cfg(feature = "file")]
    #[tokio::test]
    async fn a_file_url_names_a_file_and_no_host() {
        for url in ["file:", "file://host/tmp/a"] {
            refused(url).await;
        }
    }
}

//! Leasehold's conformance suite on the lock, over a real server; and on a server that must be
//! refused.

use std::sync::Arc;

use leasehold::Error;
use leasehold::backend::{LockBackend, async_trait};
use leasehold::timing::Clock;
use leasehold_conformance::options::Options;
use leasehold_conformance::own::{self, Ran, Says};
use leasehold_conformance::stores::Target;
use leasehold_conformance::stores::parts::{Administrator, Bytes};
use own_store::HttpMapLock;
use own_store::server::{Map, serve};

/// The store under test: a server of its own.
#[derive(Debug)]
struct HttpMap {
    server: String,
    map: Map,
}

#[async_trait]
impl Target for HttpMap {
    fn backend(&self) -> &str {
        "http-map"
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        Ok(Arc::new(HttpMapLock::open(&self.server, lock)?))
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }
}

/// Optional: brings the cases in which somebody deletes a lock.
#[async_trait]
impl Administrator for HttpMap {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.map.delete(lock);
        Ok(())
    }
}

/// Optional: brings the cases in which something else is stored.
#[async_trait]
impl Bytes for HttpMap {
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        self.map.overwrite(lock, bytes);
        Ok(())
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let stored = self.map.show(lock).ok_or("nothing is stored")?;
        Ok(String::from_utf8_lossy(&stored).into_owned())
    }
}

impl HttpMap {
    /// Its server runs in a thread, until the tests end.
    fn start(map: Map) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let served = map.clone();
        std::thread::spawn(move || runtime.block_on(serve(listener, served)));
        Self { server, map }
    }
}

fn run(map: Map, cases: Option<&str>) -> Ran {
    let options = Options { filter: cases.map(str::to_owned), ..Options::default() };
    own::run_target(Arc::new(HttpMap::start(map)), &options, |says| match says {
        Says::Verdict(text) | Says::Progress(text) => println!("{text}"),
    })
    .expect("the store answers")
}

#[test]
fn the_store_keeps_the_contract() {
    let ran = run(Map::default(), None);
    assert!(ran.as_expected, "{}", ran.report.faults().join("\n"));
}

#[test]
fn a_server_that_ignores_conditions_is_refused() {
    let ran = run(Map::that_ignores_conditions(), Some("Q1,Q2"));
    let faults = ran.report.faults();
    assert!(!ran.as_expected && faults.len() == 2, "{faults:?}");
}

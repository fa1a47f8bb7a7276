//! Real servers of Redis or Valkey.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::timing::{BootClock, Clock};
use leasehold::url::LockUrl;
use leasehold::{Error, ErrorKind, Token};
use serde_json::Value;

use super::fixture::{Form, Options, Program, Redis, Reply, key};
use super::wire::on_the_wire;
use crate::fixture::{Access, Failure, Fixture, Login, Tls, User, Users, Wish};
use crate::link::Network;
use crate::proxy::Protocol;
use crate::stores::parts::{Administrator, Bytes, Guard, Guarded, Networks, Servers, WatchHistory};
use crate::stores::target::Target;

const OPEN: &str = "open the lock";

/// Which servers, and who uses them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) backend: &'static str,
    pub(super) program: Program,
    pub(super) form: Form,
    /// Everybody is somebody who may use one lock and nothing else.
    pub(super) least: bool,
}

/// Locks in servers that go with this value.
#[derive(Debug)]
pub struct RedisTarget {
    servers: Redis,
    kind: Kind,
    /// Which lock stands for one of that name, where everybody may use one only.
    known: Mutex<HashMap<String, usize>>,
}

/// More locks than a run of the fast tier opens.
const LOCKS: usize = 250;

impl RedisTarget {
    /// Starts them on loopback.
    pub(super) fn start(kind: Kind) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        let Kind { program, form, .. } = kind;
        let options = Options { program, form, ..Options::default() };
        runtime.block_on(async {
            let servers = Redis::start(options).await?;
            let target = Self { servers, kind, known: Mutex::default() };
            for number in 0..if kind.least { LOCKS } else { 0 } {
                let (lock, login) = (named(number), login(number));
                let user = login.user.as_ref().expect("everybody is a user");
                target.servers.grant(user, &lock, Access::ReadWrite).await?;
                // Its file with a password.
                target.servers.url_as(&lock, &login)?;
            }
            Ok(target)
        })
    }

    /// The name that a lock really has, and who may use it.
    fn found(&self, lock: &str) -> (String, Login) {
        if !self.kind.least {
            return (lock.to_owned(), Login::default());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.len();
        let number = *known.entry(lock.to_owned()).or_insert(next);
        (named(number), login(number))
    }

    fn key(&self, lock: &str) -> String {
        key(&self.found(lock).0)
    }

    fn url_over(&self, endpoints: &[String], lock: &str) -> String {
        let (lock, login) = self.found(lock);
        self.servers.url_with(endpoints, &LockUrl::escape(&lock), &login)
    }

    /// What is not a valid name of a lock is refused, whatever stands for it.
    async fn open_over(
        &self,
        endpoints: &[String],
        lock: &str,
    ) -> Result<Arc<dyn LockBackend>, Error> {
        let plain = self.servers.url_with(endpoints, &LockUrl::escape(lock), &Login::default());
        leasehold::connect(&plain).await?;
        leasehold::connect(&self.url_over(endpoints, lock)).await
    }

    /// Asks the server that has the lock.
    async fn ask<W: AsRef<[u8]> + Sync>(&self, lock: &str, words: &[W]) -> Result<Reply, String> {
        let asked = async {
            let member = self.servers.owner_of(&self.key(lock)).await?;
            self.servers.connect(member).await?.insist(words).await
        };
        asked.await.map_err(|failure| failure.to_string())
    }
}

#[async_trait]
impl Target for RedisTarget {
    fn backend(&self) -> &str {
        self.kind.backend
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        self.open_over(&self.servers.endpoints(), lock).await
    }

    async fn open_many(
        &self,
        locks: &[String],
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn LockBackend>>, Error> {
        let mut opened: Vec<Arc<dyn LockBackend>> = Vec::new();
        let shared = self.servers.shared().build()?;
        for lock in locks {
            opened.push(match self.kind.least {
                true => self.open(lock, clock).await?,
                false => Arc::new(shared.lock(lock)?),
            });
        }
        Ok(opened)
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(self.url_over(&self.servers.endpoints(), lock))
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }

    fn watch_history(&self) -> WatchHistory<'_> {
        WatchHistory::Short
    }

    fn guard(&self) -> Option<&dyn Guard> {
        Some(self)
    }

    /// Sentinels and clusters name servers by addresses that no proxy has.
    fn networks(&self) -> Option<&dyn Networks> {
        let is_direct = matches!(self.kind.form, Form::One | Form::Replicated);
        is_direct.then_some(self as &dyn Networks)
    }

    fn servers(&self) -> Option<&dyn Servers> {
        Some(self)
    }
}

#[async_trait]
impl Administrator for RedisTarget {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.ask(lock, &["DEL", &self.key(lock)]).await.map(drop)
    }
}

#[async_trait]
impl Bytes for RedisTarget {
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        self.ask(lock, &[b"SET", self.key(lock).as_bytes(), bytes]).await.map(drop)
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        match self.ask(lock, &["GET", &self.key(lock)]).await? {
            Reply::Text(text) => Ok(text),
            other => Err(format!("there is nothing: {other:?}")),
        }
    }
}

#[async_trait]
impl Networks for RedisTarget {
    async fn open_apart(
        &self,
        lock: &str,
        _: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn LockBackend>, Network), Error> {
        let servers: Vec<SocketAddr> =
            self.servers.endpoints().iter().filter_map(|one| one.parse().ok()).collect();
        let network = Network::start(&servers, Protocol::Resp, on_the_wire);
        let network = network.map_err(|error| Error::new(ErrorKind::Unavailable, OPEN, error))?;
        let endpoints: Vec<String> = network.addresses().map(|one| one.to_string()).collect();
        Ok((self.open_over(&endpoints, lock).await?, network))
    }

    /// To a login.
    fn answers_first(&self) -> bool {
        self.kind.least
    }

    /// By what the record says: the store counts nothing, and holder and suite have one wall clock.
    async fn left(&self, lock: &str) -> Result<Duration, String> {
        let record: Value =
            serde_json::from_str(&self.show(lock).await?).map_err(|error| error.to_string())?;
        let of = |name: &str| record[name].as_u64().ok_or_else(|| format!("no {name}"));
        let end = of("renewed_ms")? + of("lease_duration_ms")?;
        Ok(Duration::from_millis(end.saturating_sub(BootClock::new().wall().0)))
    }
}

#[async_trait]
impl Servers for RedisTarget {
    /// Of the kind that is under test. Only Redis speaks TLS, and certificates are a matter between
    /// a client and one server.
    async fn start(&self, wish: Wish) -> Result<Box<dyn Fixture>, String> {
        let Wish { members: _, tls, can_cut, disk, quota, moves_clock, one_address: _, seats: _ } =
            wish;
        let (program, form) = match tls {
            Tls::Off => (self.kind.program, self.kind.form),
            _ => (Program::Redis, Form::One),
        };
        let options =
            Options { program, form, tls, can_cut, disk, quota, moves_clock, ..Options::default() };
        let servers = Redis::start(options).await.map_err(|failure| failure.to_string())?;
        Ok(Box::new(servers))
    }
}

#[async_trait]
impl Guard for RedisTarget {
    async fn guarded(&self, lock: &str, token: Token) -> Result<Box<dyn Guarded>, String> {
        let member = self.servers.owner_of(&self.key(lock)).await;
        let connection = self.servers.connect(member.map_err(told)?).await.map_err(told)?;
        let connection = tokio::sync::Mutex::new(connection);
        Ok(Box::new(Script { connection, key: self.key(lock), token }))
    }
}

fn named(number: usize) -> String {
    format!("least/{number}")
}

fn login(number: usize) -> Login {
    let user = User { name: format!("user{number}"), password: "of-a-test".to_owned() };
    Login { user: Some(user), ..Login::default() }
}

fn told(failure: Failure) -> String {
    failure.to_string()
}

/// The guard that docs/REDIS.md tells of: the lock still has this token and a holder.
const GUARD: &str = "local lock = redis.call('GET', KEYS[1])
local record = lock and cjson.decode(lock)
if not record or record.holder == cjson.null or record.token ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
return 1";

struct Script {
    connection: tokio::sync::Mutex<super::fixture::Connection>,
    key: String,
    token: Token,
}

impl Script {
    /// In a cluster it is where the lock is.
    fn data(&self) -> String {
        format!("{{{}}}:data", self.key)
    }
}

#[async_trait]
impl Guarded for Script {
    async fn write(&self, value: &str) -> Result<bool, String> {
        let (data, token) = (self.data(), self.token.to_string());
        let words = ["EVAL", GUARD, "2", &self.key, &data, &token, value];
        let answer = self.connection.lock().await.insist(&words).await.map_err(told)?;
        Ok(answer == Reply::Number(1))
    }

    async fn read(&self) -> Result<String, String> {
        let answer = self.connection.lock().await.insist(&["GET", &self.data()]).await;
        match answer.map_err(told)? {
            Reply::Text(text) => Ok(text),
            other => Err(format!("there is nothing: {other:?}")),
        }
    }
}

//! One endpoint, its connection, and the login on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::{Client, ConnectOptions};
use leasehold_backend::tls::TlsMaterial;
use leasehold_core::ErrorKind;
use tracing::{info, warn};

use crate::failure::{Failure, Reason};

/// What a new connection is made with.
#[derive(Clone)]
pub(crate) struct How {
    /// Without a login.
    pub(crate) options: ConnectOptions,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<TlsMaterial>,
}

/// Who logs in.
#[derive(Clone)]
pub(crate) struct Login {
    as_whom: leasehold_backend::Login,
    /// The cluster asks for no login, and somebody was told so.
    is_idle: Arc<AtomicBool>,
}

impl Login {
    pub(crate) fn new(as_whom: leasehold_backend::Login) -> Self {
        Self { as_whom, is_idle: Arc::default() }
    }

    /// The cluster let everybody in, or asks for a login again. Told once each time.
    fn is_asked_for(&self, asked: bool, member: &str) {
        match (self.is_idle.swap(!asked, Ordering::Relaxed), asked) {
            (false, false) => warn!(
                member,
                "authentication is not enabled in etcd: going on without a login, so anybody may \
                 change the lock; the login is tried again at every connection"
            ),
            (true, true) => info!(member, "authentication is enabled in etcd: logged in"),
            _ => {}
        }
    }
}

pub(crate) struct Member {
    pub(crate) name: String,
    connection: Mutex<Connection>,
    /// `None` where the caller brought the client.
    how: Option<How>,
}

struct Connection {
    client: Option<Client>,
    /// Counts connections, so that a late failure closes no newer one.
    generation: u64,
    /// A server has answered on it.
    answered: bool,
    /// It came with a login.
    logged_in: bool,
}

/// A client, and the connection that it uses.
#[derive(Clone)]
pub(crate) struct Lent {
    pub(crate) client: Client,
    pub(crate) generation: u64,
    logged_in: bool,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Member {
    /// Connects when it is used.
    pub(crate) fn at(url: String, how: &How) -> Self {
        Self::with(url, None, Some(how.clone()))
    }

    /// Uses a client that the caller made.
    pub(crate) fn of(name: String, client: Client) -> Self {
        Self::with(name, Some(client), None)
    }

    /// The same, over a connection of its own.
    pub(crate) fn apart(&self) -> Self {
        let theirs = self.lock().client.clone().filter(|_| self.how.is_none());
        Self::with(self.name.clone(), theirs, self.how.clone())
    }

    fn with(name: String, client: Option<Client>, how: Option<How>) -> Self {
        let answered = client.is_some();
        let connection = Connection { client, generation: 0, answered, logged_in: false };
        Self { name, connection: Mutex::new(connection), how }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    pub(crate) async fn connect(&self) -> Result<Lent, Failure> {
        let generation = {
            let Connection { client, generation, logged_in, .. } = &*self.lock();
            if let Some(client) = client {
                let (generation, logged_in) = (*generation, *logged_in);
                return Ok(Lent { client: client.clone(), generation, logged_in });
            }
            *generation
        };
        // Rare, and so large that a stack of 2 MiB has no room for it in every request of a debug
        // build.
        let (client, logged_in) = Box::pin(self.connected()).await?;
        let mut connection = self.lock();
        if connection.generation == generation && connection.client.is_none() {
            connection.client = Some(client.clone());
            connection.logged_in = logged_in;
        }
        Ok(Lent { client, generation, logged_in })
    }

    /// A new connection, and whether it came with a login: a cluster that asks for none refuses
    /// one.
    async fn connected(&self) -> Result<(Client, bool), Failure> {
        let Some(How { options, login, .. }) = &self.how else {
            let connecting = Client::connect([&self.name], None).await;
            return Ok((connecting.map_err(|error| Failure::of(&error, &self.name))?, false));
        };
        if let Some(login) = login {
            let password = login.as_whom.password().await.map_err(|failure| {
                // Without a password the cluster would refuse us.
                let kind = match failure.kind {
                    ErrorKind::Invalid => ErrorKind::Denied,
                    kind => kind,
                };
                Failure::of_us(failure).but(kind, Reason::NotSent)
            })?;
            let options = options.clone().with_user(login.as_whom.user(), password);
            // The client logs in again by itself when a login has run out.
            let options = options.with_auto_token_refresh(true);
            let connecting = Client::connect([&self.name], Some(options)).await;
            match connecting.map_err(|error| Failure::of(&error, &self.name)) {
                Ok(client) => {
                    login.is_asked_for(true, &self.name);
                    return Ok((client, true));
                }
                Err(failure) if failure.reason == Reason::NoLogins => {
                    login.is_asked_for(false, &self.name);
                }
                Err(failure) => return Err(failure),
            }
        }
        let connecting = Client::connect([&self.name], Some(options.clone())).await;
        Ok((connecting.map_err(|error| Failure::of(&error, &self.name))?, false))
    }

    /// What a refusal of a login, or for want of one, means where there is one: authentication was
    /// switched, and the next connection comes as the cluster wants it.
    pub(crate) fn explained(&self, lent: &Lent, failure: Failure) -> Failure {
        let has_login = self.how.as_ref().is_some_and(|how| how.login.is_some());
        let is_switched = match failure.reason {
            Reason::NoUser => !lent.logged_in,
            Reason::NoLogins => lent.logged_in,
            _ => false,
        };
        if !has_login || !is_switched {
            return failure;
        }
        failure.but(ErrorKind::Unavailable, Reason::StaleLogin)
    }

    pub(crate) fn note_answer(&self, generation: u64) {
        let mut connection = self.lock();
        connection.answered |= connection.generation == generation;
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.lock().answered
    }

    /// Does not use this connection again.
    pub(crate) fn close(&self, generation: u64) {
        if self.how.is_none() {
            return;
        }
        let mut connection = self.lock();
        if connection.generation == generation {
            connection.client = None;
            connection.generation += 1;
            connection.answered = false;
        }
    }

    /// Why it closes the connection, if certificates are the reason.
    pub(crate) async fn refusal(&self) -> Option<String> {
        let tls = self.how.as_ref()?.tls.as_ref()?;
        tls.refusal(self.name.strip_prefix("https://")?, &[b"h2"]).await
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A proxy between a client and a server, with faults that can be told exactly and are undone by a
//! guard.
//!
//! It knows bytes, of HTTP/2 as much as it takes to lose the replies to some requests while the
//! connection lives on, and of Redis' protocol as much as it takes to tell commands apart. It runs
//! on a thread of its own: a case that blocks its runtime does not block the network.

mod carry;
mod frames;
mod values;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{oneshot, watch};

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Anything.
    Bytes,
    /// HTTP/2 without TLS, as gRPC uses it.
    Http2,
    /// Redis' protocol without TLS.
    Resp,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// What is wrong with the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens: connections are refused, and those that stand are reset.
    Refuse,
    /// Nothing passes in either direction. A connection that lost something this way stays dead.
    Blackhole,
    /// The connections of this moment are dead and seem to stand; new ones pass.
    HalfOpen,
    /// Everything in this direction comes so much later.
    Delay(Direction, Duration),
    /// After so many more bytes in this direction a connection is reset.
    CutAfter(Direction, u64),
    /// What goes in this direction is kept, and goes on when the fault is lifted, whoever still
    /// listens.
    Hold(Direction),
    /// Everything in this direction is lost; a connection that lost something this way stays dead
    /// in it.
    Lose(Direction),
    /// As [`LoseReplies`](Self::LoseReplies), not over plain bytes: those of requests whose header
    /// block, or of commands that hold these bytes. The block is kept free of references to earlier
    /// ones, so that a path is there as it is encoded.
    LoseRepliesTo(&'static [u8]),
    /// Requests are carried out and their replies lost. Over HTTP/2 only those of requests sent
    /// during the fault; over Redis' protocol from the reply to the first such command on, since
    /// replies have no numbers; over plain bytes every reply. There the connection stays dead.
    LoseReplies,
}

/// A proxy. Dropping it ends its thread and resets its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Arc<watch::Sender<Faults>>,
    late: Arc<AtomicU64>,
    /// Its end ends its part of the thread.
    _alive: oneshot::Sender<()>,
}

/// The faults that are on, by number.
#[derive(Clone, Debug, Default)]
struct Faults {
    next: u64,
    on: Vec<(u64, Fault)>,
}

/// A fault that is on. Dropping it lifts the fault.
#[must_use = "dropping it lifts the fault at once"]
#[derive(Debug)]
pub struct Guard {
    faults: Arc<watch::Sender<Faults>>,
    id: u64,
}

impl Proxy {
    /// A proxy in front of that server, on a free port of loopback.
    ///
    /// # Errors
    /// There is no port or no thread.
    pub fn start(server: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let one = Self::start_each(&[server], protocol)?.pop();
        one.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// A proxy in front of each of these servers, all on one thread.
    ///
    /// # Errors
    /// There is no port or no thread.
    pub fn start_each(servers: &[SocketAddr], protocol: Protocol) -> io::Result<Vec<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut proxies, mut serving) = (Vec::new(), Vec::new());
        for &server in servers {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let faults = Arc::new(watch::Sender::new(Faults::default()));
            let (alive, over) = oneshot::channel::<()>();
            let late = Arc::<AtomicU64>::default();
            let ends = Ends { address, server, protocol, late: late.clone() };
            let watched = faults.subscribe();
            serving.push(async move {
                // Without it nobody listens, which its clients will tell.
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = serve(listener, ends, watched) => {}
                    _ = over => {}
                }
            });
            proxies.push(Self { address, faults, late, _alive: alive });
        }
        thread::Builder::new().name("conformance-proxy".to_owned()).spawn(move || {
            runtime.block_on(futures_util::future::join_all(serving));
        })?;
        Ok(proxies)
    }

    /// How many bytes went on that had been held.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a fault on until the guard goes.
    pub fn fault(&self, fault: Fault) -> Guard {
        let mut id = 0;
        self.faults.send_modify(|faults| {
            faults.next += 1;
            id = faults.next;
            faults.on.push((id, fault));
        });
        Guard { faults: self.faults.clone(), id }
    }
}

impl Guard {
    /// Lifts the fault now.
    pub fn lift(self) {
        drop(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.faults.send_modify(|faults| faults.on.retain(|(id, _)| *id != self.id));
    }
}

impl Faults {
    fn find<T>(&self, find: impl Fn(Fault) -> Option<T>) -> Option<T> {
        self.on.iter().find_map(|(_, fault)| find(*fault))
    }

    fn has(&self, wanted: Fault) -> bool {
        self.on.iter().any(|(_, fault)| *fault == wanted)
    }

    /// The number of the latest [`Fault::HalfOpen`], for connections that were there before it.
    fn half_open(&self) -> Option<u64> {
        self.on.iter().filter(|(_, fault)| *fault == Fault::HalfOpen).map(|(id, _)| *id).max()
    }
}

/// Takes the very address again after a refusal.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(256)
}

/// What a proxy stands between.
#[derive(Clone)]
struct Ends {
    address: SocketAddr,
    server: SocketAddr,
    protocol: Protocol,
    late: Arc<AtomicU64>,
}

async fn serve(first: TcpListener, ends: Ends, mut faults: watch::Receiver<Faults>) {
    let mut listener = Some(first);
    loop {
        let refuse = faults.borrow_and_update().has(Fault::Refuse);
        if refuse {
            listener = None;
        } else if listener.is_none() {
            // Somebody else may hold the port for a moment.
            listener = listen(ends.address).await.ok();
        }
        tokio::select! {
            accepted = accepted(listener.as_ref()) => match accepted {
                Ok(client) => {
                    let number = faults.borrow().next;
                    tokio::spawn(carry::connection(client, ends.clone(), faults.clone(), number));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            changed = faults.changed() => if changed.is_err() { return },
        }
    }
}

async fn accepted(listener: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }
}

//! Streams to servers: TCP, TLS or a socket of this host.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use leasehold_backend::tls::TlsMaterial;
use leasehold_backend::tls::rustls::ClientConfig;
use leasehold_backend::tls::rustls::pki_types::ServerName;
use leasehold_backend::{Aside, chain, said_once};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::failure::{Failure, Reason};
use crate::frame::Bounds;

/// How long a connection may take, with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(2);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// `host:port`, of which the host is asked of DNS at every connection.
    Tcp(Arc<str>),
    Unix(Arc<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How servers are connected to: with these certificates, or plainly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialer {
    tls: Option<Arc<Tls>>,
}

#[derive(Debug)]
struct Tls {
    material: TlsMaterial,
    /// Made at the first connection, since the system's certificates are files.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Dialer {
    pub(crate) fn new(tls: Option<TlsMaterial>) -> Self {
        let tls = tls.map(|material| Arc::new(Tls { material, config: OnceCell::new() }));
        Self { tls }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A new stream. Asks DNS for the host.
    pub(crate) async fn dial(&self, address: &Address) -> Result<Wire, Failure> {
        let dialed = timeout(CONNECT, self.dialed(address)).await;
        dialed.unwrap_or_else(|_elapsed| {
            let text = format!("{address}: no connection within {CONNECT:?}");
            let failure = Failure::not_sent(text);
            Err(match self.is_tls() {
                // It may wait for the rest of a command.
                true => failure
                    .with_cure("if it does not speak TLS, write redis:// instead of rediss://"),
                false => failure,
            })
        })
    }

    /// Why a server closes connections, if its certificates or ours are the reason.
    pub(crate) async fn refusal(&self, address: &str) -> Option<String> {
        self.tls.as_ref()?.material.refusal(address, &[]).await
    }

    async fn dialed(&self, address: &Address) -> Result<Wire, Failure> {
        let failed = |error: &std::io::Error| {
            Failure::of_io(&told(error), Reason::NotSent, &address.to_string())
        };
        let address = match address {
            Address::Unix(path) => {
                return unix(path).await.map(Wire::over).map_err(|error| failed(&error));
            }
            Address::Tcp(address) => address,
        };
        let stream = tcp(address).await.map_err(|error| failed(&error))?;
        let Some(tls) = &self.tls else { return Ok(Wire::over(Stream::Tcp(stream))) };
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_error| {
            Failure::invalid(format!("{address}: its host cannot be in a certificate"))
        })?;
        let config = tls.config().await?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Wire::over(Stream::Tls(Box::new(stream.map_err(|error| failed(&error))?))))
    }
}

impl Tls {
    async fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        let make = async || {
            let material = self.material.clone();
            let made = Aside::default()
                .run("reading the system's certificates", move || material.config(&[]))
                .await;
            made.and_then(|config| config).map(Arc::new).map_err(Failure::of_us)
        };
        self.config.get_or_try_init(make).await.cloned()
    }
}

/// The first of the host's addresses that accepts.
async fn tcp(address: &str) -> std::io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host(address).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the name has no address")))
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> std::io::Result<Stream> {
    Ok(Stream::Unix(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &std::path::Path) -> std::io::Result<Stream> {
    Err(std::io::Error::other("there are no such sockets here"))
}

/// An error and its sources.
fn told(error: &std::io::Error) -> String {
    let inner = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    let texts = [error.to_string()].into_iter().chain(chain(inner).map(ToString::to_string));
    said_once(texts).join(": ")
}

/// A stream to a server, which ends if that sends more than it has to say.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    bounds: Bounds,
    /// Why it ended. The client library does not pass it on to those who wait.
    pub(crate) ended: Ended,
}

/// Why we ended a stream, once we did.
pub(crate) type Ended = Arc<OnceLock<String>>;

impl Wire {
    fn over(stream: Stream) -> Self {
        Self { stream, bounds: Bounds::default(), ended: Ended::default() }
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

macro_rules! each {
    ($self:expr, $wire:ident => $call:expr) => {
        match &mut $self.get_mut().stream {
            Stream::Tcp($wire) => {
                let $wire = Pin::new($wire);
                $call
            }
            Stream::Tls($wire) => {
                let $wire = Pin::new($wire.as_mut());
                $call
            }
            #[cfg(unix)]
            Stream::Unix($wire) => {
                let $wire = Pin::new($wire);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = each!(self.as_mut(), wire => wire.poll_read(cx, buffer));
        if let Poll::Ready(Ok(())) = read
            && let Err(error) = self.bounds.pass(&buffer.filled()[before..])
        {
            // It is said once.
            let _ = self.ended.set(error.to_string());
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        each!(self, wire => wire.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, wire => wire.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, wire => wire.poll_shutdown(cx))
    }
}

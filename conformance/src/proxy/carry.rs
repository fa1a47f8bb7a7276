//! One connection: two directions, each carried on its own.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};

use super::frames::Frames;
use super::{Direction, Fault, Faults, Protocol};

/// What both directions of a connection know.
struct Shared {
    protocol: Protocol,
    faults: watch::Receiver<Faults>,
    /// The number of the last fault before this connection.
    born: u64,
    /// Something was lost: nothing passes any more.
    dead: watch::Sender<bool>,
    /// Streams whose replies are to be lost.
    lost: Mutex<HashSet<u32>>,
    to_server: Mutex<OwnedWriteHalf>,
    to_client: Mutex<OwnedWriteHalf>,
}

pub(super) async fn connection(
    client: TcpStream,
    server: SocketAddr,
    protocol: Protocol,
    faults: watch::Receiver<Faults>,
    born: u64,
) {
    let Ok(server) = TcpStream::connect(server).await else { return reset(&client) };
    let quick = |stream: &TcpStream| stream.set_nodelay(true);
    if quick(&client).and_then(|()| quick(&server)).is_err() {
        return;
    }
    // Whatever ends this ends it with a reset, as a cut does.
    for stream in [&client, &server] {
        reset(stream);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let shared = Arc::new(Shared {
        protocol,
        faults: faults.clone(),
        born,
        dead: watch::Sender::new(false),
        lost: Mutex::default(),
        to_server: Mutex::new(to_server),
        to_client: Mutex::new(to_client),
    });
    let requests = carry(Direction::Requests, from_client, shared.clone());
    let replies = carry(Direction::Replies, from_server, shared.clone());
    // One end may close and still listen; an error or a refusal ends both.
    tokio::select! {
        _ = async { tokio::try_join!(requests, replies) } => {}
        () = refused(faults) => {}
    }
}

/// Closing sends a reset.
fn reset(stream: &TcpStream) {
    // Without it the close is an orderly one, which is another fault, but one all the same.
    let _ = stream.set_zero_linger();
}

async fn refused(mut faults: watch::Receiver<Faults>) {
    // A proxy that is gone ends its connections too.
    let _ = faults.wait_for(|faults| faults.has(Fault::Refuse)).await;
}

async fn carry(
    direction: Direction,
    mut from: OwnedReadHalf,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let mut frames = Frames::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut cut: Option<(u64, u64)> = None;
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return shared.end(direction).await;
        }
        let mut bytes = &buffer[..count];
        shared.passage(direction).await;
        let allowed = shared.allowed(direction, &mut cut);
        let over = allowed.is_some_and(|allowed| allowed < bytes.len());
        if let (Some(allowed), Some((_, left))) = (allowed, &mut cut) {
            bytes = &bytes[..allowed.min(bytes.len())];
            *left -= u64::try_from(bytes.len()).unwrap_or(*left);
        }
        match (shared.protocol, direction) {
            (Protocol::Bytes, _) => shared.write(direction, bytes).await?,
            (Protocol::Http2, Direction::Requests) => shared.requests(&mut frames, bytes).await?,
            (Protocol::Http2, Direction::Replies) => shared.replies(&mut frames, bytes).await?,
        }
        if over {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

impl Shared {
    /// Waits until bytes may pass; for ever if they never may.
    async fn passage(&self, direction: Direction) {
        let mut faults = self.faults.clone();
        let (delay, lost) = {
            let faults = faults.borrow();
            let delay = faults.find(|fault| match fault {
                Fault::Delay(side, delay) if side == direction => Some(delay),
                _ => None,
            });
            let half_open = faults.half_open().is_some_and(|id| id > self.born);
            let plain = self.protocol == Protocol::Bytes && direction == Direction::Replies;
            let lost = half_open
                || faults.has(Fault::Blackhole)
                || plain && faults.has(Fault::LoseReplies);
            (delay, lost)
        };
        if lost {
            self.dead.send_replace(true);
        }
        if *self.dead.borrow() {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        // A proxy that is gone carries nothing any more.
        let _ = faults.wait_for(|faults| !faults.has(Fault::Hold(direction))).await;
    }

    /// How many bytes may still pass before the cut.
    fn allowed(&self, direction: Direction, cut: &mut Option<(u64, u64)>) -> Option<usize> {
        let faults = self.faults.borrow();
        let (id, after) = faults.on.iter().find_map(|(id, fault)| match fault {
            Fault::CutAfter(side, after) if *side == direction => Some((*id, *after)),
            _ => None,
        })?;
        let (_, left) = cut.filter(|(known, _)| *known == id).unwrap_or((id, after));
        *cut = Some((id, left));
        usize::try_from(left).ok()
    }

    async fn write(&self, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        match direction {
            Direction::Requests => self.to_server.lock().await.write_all(bytes).await,
            Direction::Replies => self.to_client.lock().await.write_all(bytes).await,
        }
    }

    async fn end(&self, direction: Direction) -> io::Result<()> {
        match direction {
            Direction::Requests => self.to_server.lock().await.shutdown().await,
            Direction::Replies => self.to_client.lock().await.shutdown().await,
        }
    }

    async fn requests(&self, frames: &mut Frames, bytes: &[u8]) -> io::Result<()> {
        let (preface, whole) = frames.of_client(bytes);
        self.write(Direction::Requests, &preface).await?;
        for frame in whole {
            if frame.begins_request() && self.faults.borrow().has(Fault::LoseReplies) {
                self.lost.lock().await.insert(frame.stream());
            }
            self.write(Direction::Requests, frame.bytes()).await?;
        }
        Ok(())
    }

    async fn replies(&self, frames: &mut Frames, bytes: &[u8]) -> io::Result<()> {
        for frame in frames.of_server(bytes) {
            if frame.is_reply() && self.lost.lock().await.contains(&frame.stream()) {
                if let Some(credit) = frame.credit() {
                    self.write(Direction::Requests, credit.bytes()).await?;
                }
            } else {
                self.write(Direction::Replies, frame.bytes()).await?;
            }
        }
        Ok(())
    }
}

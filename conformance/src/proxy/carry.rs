//! One connection: two directions, each carried on its own.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::frames::Frames;
use super::values::{self, Values};
use super::{Direction, Ends, Fault, Faults, Protocol};

/// What both directions of a connection know.
struct Shared {
    ends: Ends,
    faults: watch::Receiver<Faults>,
    /// The number of the last fault before this connection.
    born: u64,
    /// Something was lost in this direction: nothing passes there any more.
    dead: [AtomicBool; 2],
    /// Something was held: it shall arrive, whatever became of the client.
    held: AtomicBool,
    /// Streams whose replies are to be lost.
    lost: Mutex<HashSet<u32>>,
    /// How many commands were sent, and the first of them whose reply is to be lost.
    sent: AtomicU64,
    first_lost: AtomicU64,
    to_server: Mutex<OwnedWriteHalf>,
    to_client: Mutex<OwnedWriteHalf>,
}

pub(super) async fn connection(
    client: TcpStream,
    ends: Ends,
    faults: watch::Receiver<Faults>,
    born: u64,
) {
    let Ok(server) = TcpStream::connect(ends.server).await else { return reset(&client) };
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
        ends,
        faults: faults.clone(),
        born,
        dead: [AtomicBool::new(false), AtomicBool::new(false)],
        held: AtomicBool::new(false),
        lost: Mutex::default(),
        sent: AtomicU64::new(0),
        first_lost: AtomicU64::new(u64::MAX),
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

/// How many reads may wait for their time.
const WAITING: usize = 256;

/// What was read when, or why there is no more.
type Heard = (Instant, io::Result<Vec<u8>>);

async fn carry(direction: Direction, from: OwnedReadHalf, shared: Arc<Shared>) -> io::Result<()> {
    let (heard, waiting) = mpsc::channel(WAITING);
    let listening = async {
        listen(from, heard).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = pass_on(direction, waiting, shared) => ended,
        () = listening => Ok(()),
    }
}

/// Reads on while something waits, so that a delay is the same for all.
async fn listen(mut from: OwnedReadHalf, heard: mpsc::Sender<Heard>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let (bytes, more) = match from.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => (Ok(buffer[..count].to_vec()), true),
            Err(error) => (Err(error), false),
        };
        if heard.send((Instant::now(), bytes)).await.is_err() || !more {
            return;
        }
    }
}

async fn pass_on(
    direction: Direction,
    mut waiting: mpsc::Receiver<Heard>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let (mut frames, mut values, mut answered) = (Frames::default(), Values::default(), 0);
    let mut cut: Option<(u64, u64)> = None;
    while let Some((at, bytes)) = waiting.recv().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            // The client is gone, and what it sent before shall be carried out.
            Err(_) if shared.held.load(Ordering::Relaxed) => break,
            Err(error) => return Err(error),
        };
        let mut bytes = bytes.as_slice();
        let was_held = shared.passage(direction, at).await;
        let allowed = shared.allowed(direction, &mut cut);
        let over = allowed.is_some_and(|allowed| allowed < bytes.len());
        if let (Some(allowed), Some((_, left))) = (allowed, &mut cut) {
            bytes = &bytes[..allowed.min(bytes.len())];
            *left -= u64::try_from(bytes.len()).unwrap_or(*left);
        }
        let passed = match (shared.ends.protocol, direction) {
            (Protocol::Bytes, _) => shared.write(direction, bytes).await,
            (Protocol::Http2, Direction::Requests) => shared.requests(&mut frames, bytes).await,
            (Protocol::Http2, Direction::Replies) => shared.replies(&mut frames, bytes).await,
            (Protocol::Resp, Direction::Requests) => shared.commands(&mut values, bytes).await,
            (Protocol::Resp, Direction::Replies) => {
                shared.answers(&mut values, &mut answered, bytes).await
            }
        };
        match passed {
            Ok(()) if was_held => {
                let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                shared.ends.late.fetch_add(count, Ordering::Relaxed);
            }
            // A client that is gone hears nothing.
            Err(_) if direction == Direction::Replies && shared.held.load(Ordering::Relaxed) => {}
            passed => passed?,
        }
        if over {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    shared.end(direction).await
}

impl Shared {
    /// Waits until bytes that were read then may pass; for ever if they never may. Whether they
    /// were held.
    async fn passage(&self, direction: Direction, read: Instant) -> bool {
        let mut faults = self.faults.clone();
        let hold = Fault::Hold(direction);
        let (delay, dead, held) = {
            let faults = faults.borrow();
            let delay = faults.find(|fault| match fault {
                Fault::Delay(side, delay) if side == direction => Some(delay),
                _ => None,
            });
            let half_open = faults.half_open().is_some_and(|id| id > self.born);
            let plain = self.ends.protocol == Protocol::Bytes && direction == Direction::Replies;
            let lost =
                faults.has(Fault::Lose(direction)) || plain && faults.has(Fault::LoseReplies);
            let all = half_open || faults.has(Fault::Blackhole);
            let other = match direction {
                Direction::Requests => Direction::Replies,
                Direction::Replies => Direction::Requests,
            };
            let both = all || plain && faults.has(Fault::LoseReplies);
            (delay, [(direction, lost || all), (other, both)], faults.has(hold))
        };
        for (side, dead) in dead {
            self.dead[side as usize].fetch_or(dead, Ordering::Relaxed);
        }
        if self.dead[direction as usize].load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.held.fetch_or(held, Ordering::Relaxed);
        if let Some(delay) = delay {
            tokio::time::sleep_until(read + delay).await;
        }
        // A proxy that is gone carries nothing any more.
        let _ = faults.wait_for(|faults| !faults.has(hold)).await;
        held
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

    fn loses_reply_to(&self, holds: impl Fn(&[u8]) -> bool) -> bool {
        let loses = |fault| match fault {
            Fault::LoseReplies => Some(()),
            Fault::LoseRepliesTo(bytes) => holds(bytes).then_some(()),
            _ => None,
        };
        self.faults.borrow().find(loses).is_some()
    }

    async fn requests(&self, frames: &mut Frames, bytes: &[u8]) -> io::Result<()> {
        let (preface, whole) = frames.of_client(bytes);
        self.write(Direction::Requests, &preface).await?;
        for frame in whole {
            if frame.begins_request() && self.loses_reply_to(|bytes| frame.holds(bytes)) {
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

    async fn commands(&self, values: &mut Values, bytes: &[u8]) -> io::Result<()> {
        for command in values.whole(bytes) {
            let number = self.sent.fetch_add(1, Ordering::SeqCst);
            let holds = |bytes: &[u8]| command.windows(bytes.len()).any(|part| part == bytes);
            if self.loses_reply_to(holds) {
                self.first_lost.fetch_min(number, Ordering::SeqCst);
            }
            self.write(Direction::Requests, &command).await?;
        }
        Ok(())
    }

    async fn answers(
        &self,
        values: &mut Values,
        answered: &mut u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        for answer in values.whole(bytes) {
            if *answered < self.first_lost.load(Ordering::SeqCst) {
                self.write(Direction::Replies, &answer).await?;
            }
            *answered += u64::from(!values::is_push(&answer));
        }
        Ok(())
    }
}

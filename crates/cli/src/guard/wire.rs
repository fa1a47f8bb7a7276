//! Orders and reports on the socket between supervisor and guard.
//!
//! One message is one packet of three little-endian words: a tag and its values. Both ends are the
//! same binary (the guard is started through `/proc/self/exe`), so the form has no version.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use leasehold_guard::{Exit, Order, Report, Time};

const WORDS: usize = 3;
const SIZE: usize = WORDS * 8;

/// The most descriptors one message carries: CMD's standard input, the board and the liveness lock.
const MAX_FDS: usize = 3;

type Words = [u64; WORDS];

/// A value that travels as words.
pub trait Message: Sized {
    /// Its form on the socket.
    fn encode(&self) -> [u64; WORDS];
    /// The value, if the words are one.
    fn decode(words: &[u64; WORDS]) -> Option<Self>;
}

impl Message for Order {
    fn encode(&self) -> Words {
        match *self {
            Self::Start { grace } => {
                let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
                [1, grace, 0]
            }
            Self::Look => [2, 0, 0],
            Self::Terminate => [3, 0, 0],
            Self::Signal(number) => [4, number.into(), 0],
            Self::Kill => [5, 0, 0],
        }
    }

    fn decode(&[tag, a, _]: &Words) -> Option<Self> {
        Some(match tag {
            1 => Self::Start { grace: Duration::from_nanos(a) },
            2 => Self::Look,
            3 => Self::Terminate,
            4 => Self::Signal(u8::try_from(a).ok()?),
            5 => Self::Kill,
            _ => return None,
        })
    }
}

impl Message for Report {
    fn encode(&self) -> Words {
        match *self {
            Self::Started(pid) => [1, pid.into(), 0],
            Self::Exited { exit: Exit::Code(code), by_itself } => {
                [2, code.into(), by_itself.into()]
            }
            Self::Exited { exit: Exit::Signal(signal), by_itself } => {
                [3, signal.into(), by_itself.into()]
            }
            Self::Failed(errno) => [4, errno.into(), 0],
            Self::Gone { alive_at, dead_at } => [5, alive_at.0, dead_at.0],
            Self::Stopped(signal) => [6, signal.into(), 0],
            Self::LeftBehind { count, one } => [7, count.into(), one.into()],
        }
    }

    fn decode(&[tag, a, b]: &Words) -> Option<Self> {
        let by_itself = b != 0;
        Some(match tag {
            1 => Self::Started(u32::try_from(a).ok()?),
            2 => Self::Exited { exit: Exit::Code(u8::try_from(a).ok()?), by_itself },
            3 => Self::Exited { exit: Exit::Signal(u8::try_from(a).ok()?), by_itself },
            4 => Self::Failed(u32::try_from(a).ok()?),
            5 => Self::Gone { alive_at: Time(a), dead_at: Time(b) },
            6 => Self::Stopped(u8::try_from(a).ok()?),
            7 => Self::LeftBehind { count: u32::try_from(a).ok()?, one: u32::try_from(b).ok()? },
            _ => return None,
        })
    }
}

/// What waited on a socket.
#[derive(Debug)]
pub enum Received<T> {
    /// A message with its descriptors, which are close-on-exec.
    Message(T, Vec<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and never again: the other end is closed. Also what a broken socket or message
    /// reads as.
    Closed,
}

/// The two ends of a socket; neither blocks, neither survives an exec.
///
/// # Errors
/// The kernel gave no sockets.
pub fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Sends without blocking.
///
/// # Errors
/// [`Errno::AGAIN`] if the socket is full; anything else means that nobody listens.
pub fn send<T: Message>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut bytes = [0; SIZE];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(message.encode()) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
    Ok(())
}

/// Receives without blocking.
#[must_use]
pub fn receive<T: Message>(socket: impl AsFd) -> Received<T> {
    let mut bytes = [0; SIZE];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let length = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(message) => break message.bytes,
            // An end that was closed with something unread says so once, before what it had sent.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => return Received::Nothing,
            Err(_) => return Received::Closed,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    match T::decode(&words) {
        Some(message) if length == SIZE => Received::Message(message, fds),
        _ => Received::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_as_sent_and_in_order() {
        let (near, far) = pair().unwrap();
        let orders = [
            Order::Start { grace: Duration::from_millis(7) },
            Order::Look,
            Order::Terminate,
            Order::Signal(10),
            Order::Kill,
        ];
        for order in &orders {
            send(&near, order, &[near.as_fd(), far.as_fd()]).unwrap();
        }
        drop(near);
        for order in orders {
            let Received::Message(received, fds) = receive::<Order>(&far) else { panic!() };
            assert_eq!(received, order);
            assert_eq!(fds.len(), 2);
            for fd in fds {
                let flags = rustix::io::fcntl_getfd(&fd).unwrap();
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            }
        }
        assert!(matches!(receive::<Order>(&far), Received::Closed));
    }

    #[test]
    fn what_was_sent_is_read_though_its_sender_ended_with_something_unread() {
        let (near, far) = pair().unwrap();
        send(&far, &Report::Stopped(19), &[]).unwrap();
        send(&near, &Order::Look, &[]).unwrap();
        drop(far);
        let Received::Message(report, _) = receive::<Report>(&near) else { panic!() };
        assert_eq!(report, Report::Stopped(19));
        assert!(matches!(receive::<Report>(&near), Received::Closed));
    }

    #[test]
    fn a_full_socket_does_not_block_and_an_unknown_message_reads_as_the_end() {
        let (near, far) = pair().unwrap();
        assert!(matches!(receive::<Report>(&far), Received::Nothing));
        let mut sent = 0;
        let full = loop {
            match send(&near, &Order::Kill, &[]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full, Errno::AGAIN);
        assert!(sent > 10, "{sent}");
        rustix::net::send(&far, b"?", SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(receive::<Report>(&near), Received::Closed));
    }
}

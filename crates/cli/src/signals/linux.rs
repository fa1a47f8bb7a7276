//! Linux: all that `leasehold run` acts on.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use tokio::signal::unix::{Signal, SignalKind, signal};

use rustix::process::Signal as Number;

use super::Request;

/// The signals this process handles from now on.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(Request, Signal)>,
    /// SIGXFSZ. Handled, a write beyond `ulimit -f` is an error with a message and not the end of
    /// this process.
    _file_too_large: Signal,
}

impl Signals {
    /// Handles them. SIGHUP, SIGINT and SIGQUIT stay ignored if they were (`nohup`, a background
    /// job of a shell).
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        let ignored = ignored();
        let number = |signal: Number| u8::try_from(signal.as_raw()).unwrap_or_default();
        let wanted = [
            (Number::TERM, Request::Stop(number(Number::TERM)), false),
            (Number::INT, Request::Stop(number(Number::INT)), true),
            (Number::HUP, Request::Forward(number(Number::HUP)), true),
            (Number::QUIT, Request::Forward(number(Number::QUIT)), true),
            (Number::USR1, Request::Tell(number(Number::USR1)), false),
            (Number::USR2, Request::Tell(number(Number::USR2)), false),
            (Number::WINCH, Request::Tell(number(Number::WINCH)), false),
        ];
        let mut streams = vec![(Request::Reap, signal(SignalKind::child())?)];
        for (kind, request, unless_ignored) in wanted {
            let bit = 1_u64 << (kind.as_raw() - 1);
            if !(unless_ignored && ignored & bit != 0) {
                streams.push((request, signal(SignalKind::from_raw(kind.as_raw()))?));
            }
        }
        let file_too_large = signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?;
        Ok(Self { streams, _file_too_large: file_too_large })
    }

    /// The next one. Dropping the future loses none.
    pub async fn next(&mut self) -> Request {
        poll_fn(|context| {
            for (request, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that are handled here.
const HANDLED: [Number; 8] = [
    Number::TERM,
    Number::INT,
    Number::HUP,
    Number::QUIT,
    Number::USR1,
    Number::USR2,
    Number::WINCH,
    Number::CHILD,
];

/// Unblocks them for this thread and those it starts: blocked by the parent, they would never
/// arrive.
///
/// # Errors
/// The kernel refused it.
pub fn unblock() -> io::Result<()> {
    let mut set = SigSet::empty();
    for number in HANDLED {
        set.add(NixSignal::try_from(number.as_raw())?);
    }
    Ok(set.thread_unblock()?)
}

/// The name of a signal, for people.
#[must_use]
pub fn name(number: u8) -> String {
    let known = NixSignal::try_from(i32::from(number));
    known.map_or_else(|_unknown| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

/// The signals this process ignores, as a bit mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

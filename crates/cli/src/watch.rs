//! `leasehold watch`: who leads, and every change.

use futures_util::StreamExt;
use leasehold::backend::LockBackend;
use leasehold::status::printable;
use leasehold::status::{Leader, LeaderInfo, Status};
use leasehold::timing::{BootClock, Clock};
use leasehold::{Error, Observer};
use serde_json::{Value, json};

use crate::args::{Colour, OutputFormat, WatchArgs};
use crate::lock::Lock;
use crate::notice::{FORGOTTEN, moment, told};
use crate::output::{Paint, json as json_line, print_error, write};
use crate::signals::{Request, Signals};
use crate::status::leader_json;
use crate::{exit, runtime};

/// Prints changes until nobody reads them. Returns the exit code.
#[must_use]
pub fn main(args: &WatchArgs, colour: Colour) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(watch(args, Paint::stdout(colour)));
    runtime.shutdown_background();
    code
}

async fn watch(args: &WatchArgs, paint: Paint) -> u8 {
    let opened = async {
        let lock = Lock::connect(&args.lock.lock).await?.backend();
        Ok::<_, Error>((Observer::new(lock.clone())?, lock))
    };
    let (observer, lock) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            print_error(&error);
            return exit::of_error(&error);
        }
    };
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            print_error(&format!("cannot handle signals: {error}"));
            return exit::INTERNAL;
        }
    };
    let mut unread = std::pin::pin!(unread());
    let mut changes = std::pin::pin!(observer.changes());
    let mut last = None;
    loop {
        let status = tokio::select! {
            status = changes.next() => status,
            () = &mut unread => return 0,
            signal = signals.next() => match signal {
                Request::Stop(number) | Request::Forward(number) => return exit::by_signal(number),
                Request::Tell(_) | Request::Reap => continue,
            },
        };
        let Some(status) = status else {
            // Its task ends with the runtime only.
            print_error(&"the task that reads the lock has ended");
            return exit::INTERNAL;
        };
        let seen = Seen::of(&status);
        if last.is_none() && seen.is_void() || last.as_ref() == Some(&seen) {
            continue;
        }
        let line = match args.output.output {
            OutputFormat::Json => json_line(&seen.json(lock.as_ref(), BootClock::new().wall().0)),
            OutputFormat::Text => seen.text(paint),
        };
        last = Some(seen);
        if let Err(error) = write(&format!("{line}\n")) {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return 0;
            }
            print_error(&format!("cannot write: {error}"));
            return exit::INTERNAL;
        }
    }
}

/// Resolves once nobody reads standard output any more. A thread, since a pipe without reader wakes
/// no runtime.
#[cfg(target_os = "linux")]
async fn unread() {
    use rustix::event::{PollFd, PollFlags, poll};

    let (closed, receiver) = tokio::sync::oneshot::channel();
    let wait = move || {
        let out = std::io::stdout();
        loop {
            // Errors and hang-ups are told unasked.
            let mut descriptors = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut descriptors, None) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let _ = closed.send(());
    };
    // Without one a closed pipe is noticed at the next change.
    let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(wait);
    if receiver.await.is_err() {
        std::future::pending().await
    }
}

/// Elsewhere a closed pipe is noticed at the next change.
#[cfg(not(target_os = "linux"))]
async fn unread() {
    std::future::pending().await
}

/// What is told of a status: two that tell the same are one line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    leader: Leader,
    /// Why no more is known.
    trouble: Option<String>,
}

impl Seen {
    fn of(status: &Status) -> Self {
        let mut leader = status.leader.clone();
        if let Leader::Held(leading) = &mut leader {
            // A sign of life is no change.
            leading.renewed = None;
        }
        let forgotten = status.forgotten_until.map(|_| FORGOTTEN.to_owned());
        let trouble = status.store_error.as_ref().map(ToString::to_string).or(forgotten);
        Self { leader, trouble }
    }

    /// Nothing was read, or nothing that is worth a line, and nothing went wrong yet.
    fn is_void(&self) -> bool {
        self.leader == Leader::Unknown && self.trouble.is_none()
    }

    fn text(&self, paint: Paint) -> String {
        let now = moment(BootClock::new().wall());
        let mut text = match &self.leader {
            Leader::Unknown => format!("{now}  {}", paint.doubtful("unknown who leads")),
            Leader::Nobody => format!("{now}  {}", paint.bad("nobody leads")),
            Leader::Held(leading) => {
                let token =
                    leading.token.map(|token| format!("token {token}, ")).unwrap_or_default();
                let who = paint.good(&printable(&leading.identity).to_string());
                let told = told(leading.since, None, leading.lease_duration);
                format!("{now}  {who} leads ({token}{told})")
            }
        };
        if let Some(trouble) = &self.trouble {
            text.push_str(": ");
            text.push_str(trouble);
        }
        text
    }

    fn json(&self, lock: &dyn LockBackend, now: u64) -> Value {
        let (state, leader) = match &self.leader {
            Leader::Unknown => ("unknown", None),
            Leader::Nobody => ("nobody", None),
            Leader::Held(leading) => {
                let LeaderInfo { identity, token, since, lease_duration, .. } = leading;
                let advertise = leading.advertise.as_deref();
                let leader = leader_json(identity, advertise, *token, *since, *lease_duration);
                ("held", Some(leader))
            }
        };
        json!({
            "v": 1, "at_ms": now, "lock": lock.name(), "state": state, "leader": leader,
            "reason": self.trouble,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use leasehold::Elector;
    use leasehold::backend::Push;
    use leasehold::testing::{MemoryLock, in_virtual_time};

    use super::*;

    #[test]
    fn a_store_that_may_have_forgotten_who_led_is_not_free() {
        in_virtual_time(async |clock| {
            let lock = Arc::new(MemoryLock::builder("jobs").push(Push::Hint).forgets().build());
            let observer = Observer::with_clock(lock.clone(), clock.clone()).unwrap();
            clock.advance(Duration::from_secs(1)).await;
            let told = || {
                let seen = Seen::of(&observer.status());
                let json = seen.json(lock.as_ref(), 0);
                assert!(!seen.is_void(), "it is said");
                assert_eq!((&json["state"], &json["leader"]), (&json!("unknown"), &Value::Null));
                assert!(json["reason"].as_str().unwrap().contains("may have forgotten"));
                seen.text(Paint(false))
            };
            let absent = told();
            assert!(absent.ends_with(&format!("unknown who leads: {FORGOTTEN}")), "{absent}");
            // A candidate adopts it under the holder `unknown`.
            let elector = Elector::builder(lock.clone()).clock(clock.clone()).build().unwrap();
            let campaign = tokio::spawn(async move { elector.campaign().await });
            clock.advance(Duration::from_secs(10)).await;
            let adopted = lock.read().await.unwrap();
            assert!(adopted.record().unwrap().holder.as_ref().unwrap().is_unknown());
            assert!(told().ends_with(FORGOTTEN));
            clock.advance(Duration::from_secs(6)).await;
            let leads = Seen::of(&observer.status());
            assert!(leads.text(Paint(false)).contains(" leads (token "), "{leads:?}");
            assert_eq!(leads.trouble, None);
            drop(campaign);
        });
    }
}

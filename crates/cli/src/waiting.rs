//! Waiting for leadership.

use std::pin::pin;
use std::time::Duration;

use leasehold::status::{Leader, LeaderInfo, Status};
use leasehold::timing::{BootClock, Clock, Time};
use leasehold::{Elector, Error, ErrorKind, Held};
use tracing::{debug, error, info, warn};

use crate::args::RunArgs;
use crate::exit;
use crate::guard::Orphans;
use crate::lock::Lock;
use crate::notice::{
    FORGOTTEN, Pace, TRYING_AGAIN, denied, left_out, next, unlike_leases, waits_for_the_forgotten,
    why_we_wait,
};
use crate::signals::{Request, Signals};

/// When a waiting candidate says again why it waits; the next pause is twice as long.
const REMINDER: Duration = Duration::from_secs(10);

/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Debug)]
pub enum Waited {
    /// This candidate leads.
    Leads(Held),
    /// It is to exit with this code.
    Exit(u8),
}

/// Contends until this candidate leads or should no longer, and says meanwhile why it waits.
pub async fn for_leadership(
    elector: &Elector,
    lock: &Lock,
    args: &RunArgs,
    clock: &BootClock,
    signals: &mut Signals,
) -> Waited {
    let forgets = lock.backend().capabilities().forgets;
    let why = |status: &Status| why(status, elector, clock.now());
    let mut campaign = pin!(elector.campaign());
    let mut changes = pin!(elector.changes());
    // A timeout that passes while nobody is known to hold the lock leaves time to find out, or to
    // take it.
    let mut last_chance = args.give_up;
    let mut give_up_at = args.timeout.map_or(Time::NEVER, |timeout| clock.now() + timeout);
    let mut pause = REMINDER;
    let mut remind_at = clock.now() + pause;
    let mut said = String::new();
    let mut orphans = Orphans::default();
    let mut reap_at = clock.now();
    // Who takes the lock and leaves it again and again fills nobody's disk.
    let mut pace = Pace::default();
    let mut denials = Denials::default();
    let mut unlike = Unlike::default();
    loop {
        tokio::select! {
            biased;
            request = signals.next() => match request {
                Request::Stop(number) | Request::Forward(number) => {
                    info!("stopped by signal {number} while waiting");
                    return Waited::Exit(exit::by_signal(number));
                }
                Request::Tell(number) => debug!("signal {number} ignored while waiting"),
                // As the first process of a container, or after a child, orphans of others end up
                // here.
                Request::Reap => reap_at = reap_at.min(clock.now() + Orphans::PAUSE),
            },
            held = &mut campaign => return match held {
                Ok(held) => Waited::Leads(held),
                Err(error) => {
                    error!("{error}");
                    Waited::Exit(exit::of_error(&error))
                }
            },
            status = next(&mut changes) => {
                let why = why(&status);
                if why.subject != said && is_known(&status) {
                    match pace.admit(clock.now()) {
                        Ok(count) => {
                            info!("{}{}", why.text, left_out(count));
                            said = why.subject;
                            pause = REMINDER;
                            remind_at = clock.now() + pause;
                        }
                        // What is so then is said by the reminder.
                        Err(next) => remind_at = remind_at.min(next),
                    }
                }
                if let Leader::Held(leading) = &status.leader && forgets && !leading.is_me {
                    unlike.note(leading, elector.timing().lease_duration());
                }
                denials.note(&status, clock.now() + elector.timing().lease_duration());
                if let Some(code) = give_up(&status, args).filter(|_| last_chance) {
                    error!("{}", gave_up(&why_we_wait(&status)));
                    return Waited::Exit(code);
                }
            }
            () = clock.sleep_until(reap_at) => {
                let more = orphans.look();
                reap_at = if more { clock.now() + Orphans::PAUSE } else { Time::NEVER };
            }
            () = clock.sleep_until(remind_at) => {
                let why = why(&elector.status());
                let count = left_out(pace.admit(clock.now()).unwrap_or_default());
                if why.subject == said {
                    info!("still waiting: {}{count}", why.text);
                    pause = (2 * pause).min(MAX_PAUSE);
                } else {
                    info!("{}{count}", why.text);
                    said = why.subject;
                    pause = REMINDER;
                }
                remind_at = clock.now() + pause;
            }
            () = clock.sleep_until(denials.until) => {
                if let Some(error) = denied(&elector.status()) {
                    error!("{error}");
                    return Waited::Exit(exit::of_error(error));
                }
                denials = Denials::default();
            }
            () = clock.sleep_until(give_up_at) => {
                let status = elector.status();
                let code = match give_up(&status, args) {
                    Some(code) => code,
                    None if !last_chance => {
                        last_chance = true;
                        give_up_at = give_up_at + 2 * elector.timing().request_timeout();
                        continue;
                    }
                    None if status.leader == Leader::Unknown => exit::UNAVAILABLE,
                    None => args.conflict_exit_code,
                };
                error!("{}", gave_up(&why(&status).text));
                return Waited::Exit(code);
            }
        }
    }
}

/// Something was read, or could not be.
fn is_known(status: &Status) -> bool {
    status.leader != Leader::Unknown
        || status.store_error.is_some()
        || status.forgotten_until.is_some()
}

/// Why we wait.
#[derive(Debug)]
struct Why {
    text: String,
    /// The same of two that say the same but for the time that is left.
    subject: String,
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { subject: text.clone(), text }
    }
}

/// Why we wait, and for how long, if that is known: until the store may be asked again that named a
/// time, or until nobody can lead any more whom it may have forgotten.
fn why(status: &Status, elector: &Elector, now: Time) -> Why {
    if let (Some(until), None) = (status.forgotten_until, &status.store_error) {
        let text = waits_for_the_forgotten(until.since(now));
        return Why { text, subject: FORGOTTEN.to_owned() };
    }
    let why = why_we_wait(status);
    let kind = status.store_error.as_ref().map(Error::kind);
    let Some(ErrorKind::Throttled { retry_after: Some(named) }) = kind else { return why.into() };
    let most = elector.timing().longest_back_off();
    let (named, most) = (named.as_secs_f64(), most.as_secs_f64());
    let text = match named > most {
        true => {
            format!("{why}; the store asked for a pause of {named:.0}s: asking again in {most:.0}s")
        }
        false => format!("{why}; asking again in {named:.1}s, as the store asked"),
    };
    text.into()
}

/// Says of each lease duration once that it is not this candidate's.
#[derive(Debug, Default)]
struct Unlike {
    said: Option<Duration>,
}

impl Unlike {
    fn note(&mut self, leading: &LeaderInfo, own: Duration) {
        if self.said != Some(leading.lease_duration)
            && let Some(warning) = unlike_leases(leading, own)
        {
            warn!("{warning}");
            self.said = Some(leading.lease_duration);
        }
    }
}

/// A store that cannot say without a write whether one may write: nobody leads, and every write is
/// denied. One denial is a state (a webhook, rights that are being repaired), but a whole lease of
/// them will not end by waiting.
#[derive(Debug)]
pub(crate) struct Denials {
    /// Until then it may be a state.
    pub(crate) until: Time,
}

impl Default for Denials {
    fn default() -> Self {
        Self { until: Time::NEVER }
    }
}

impl Denials {
    /// The status changed. If we are denied from now on, `until` is when that is no state any more.
    pub(crate) fn note(&mut self, status: &Status, until: Time) {
        if denied(status).is_none() {
            self.until = Time::NEVER;
        } else if self.until == Time::NEVER {
            self.until = until;
        }
    }
}

/// The exit code of a candidate that does not want to wait; `None` if it may yet lead at once.
fn give_up(status: &Status, args: &RunArgs) -> Option<u8> {
    match (&status.leader, &status.store_error) {
        (Leader::Held(leading), _) if !leading.is_me => Some(args.conflict_exit_code),
        (Leader::Unknown | Leader::Nobody, Some(error)) if error.kind() != ErrorKind::Stopped => {
            Some(exit::of_error(error))
        }
        _ => None,
    }
}

/// Why we waited, once we do not any more.
fn gave_up(why_we_waited: &str) -> String {
    let why = why_we_waited.strip_suffix(TRYING_AGAIN).unwrap_or(why_we_waited);
    format!("gave up: {why}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::Arc;

    use futures_util::{FutureExt, StreamExt};
    use leasehold::TimingSettings;
    use leasehold::backend::Push;
    use leasehold::testing::{MemoryLock, in_virtual_time};

    use super::*;
    use crate::args::{Action, parse};

    fn try_args() -> RunArgs {
        let line = "leasehold run --try --lock file:x -- true";
        let Action::Run(args) = parse(line.split(' ').map(OsString::from)).unwrap().action else {
            panic!("it is another command");
        };
        args
    }

    #[test]
    fn a_store_that_may_have_forgotten_is_waited_for_and_nobody_is_blamed() {
        in_virtual_time(async |clock| {
            let lock = MemoryLock::builder("jobs").push(Push::Hint).forgets().build();
            let elector = Elector::builder(Arc::new(lock)).clock(clock.clone()).build().unwrap();
            let mut changes = Box::pin(elector.changes());
            let campaign = tokio::spawn({
                let elector = elector.clone();
                async move { elector.campaign().await }
            });
            let line = || {
                let status = elector.status();
                assert!(is_known(&status), "{status:?}");
                assert_eq!(give_up(&status, &try_args()), None, "nobody holds it");
                let why = why(&status, &elector, clock.now());
                assert_eq!(why.subject, FORGOTTEN);
                why.text
            };
            clock.advance(Duration::from_millis(1)).await;
            assert!(line().contains("cannot vouch for the past: leading in 15."), "{}", line());
            clock.advance(Duration::from_secs(10)).await;
            assert!(line().contains(": leading in 5."), "{}", line());
            let told = std::iter::from_fn(|| changes.next().now_or_never().flatten());
            assert!(told.last().unwrap().forgotten_until.is_some(), "the change was told");
            clock.advance(Duration::from_millis(5_300)).await;
            assert!(campaign.await.unwrap().unwrap().check().is_ok());
            assert_eq!(elector.status().forgotten_until, None);
        });
    }

    #[test]
    fn a_longer_lease_of_whoever_adopted_is_told() {
        in_virtual_time(async |clock| {
            let lock = Arc::new(MemoryLock::builder("jobs").push(Push::Hint).forgets().build());
            let elector = |lease: u64| {
                let lease = TimingSettings::lease_duration(Duration::from_secs(lease));
                let builder = Elector::builder(lock.clone()).clock(clock.clone());
                builder.timing(lease).build().unwrap()
            };
            let (long, short) = (elector(60), elector(15));
            let waits = tokio::spawn(async move { long.campaign().await.map(|_| ()) });
            clock.advance(Duration::from_secs(1)).await;
            waits.abort();
            let campaign = tokio::spawn({
                let short = short.clone();
                async move { short.campaign().await }
            });
            clock.advance(Duration::from_secs(1)).await;
            let why = why(&short.status(), &short, clock.now());
            assert!(why.text.contains("leading in 58."), "{why:?}");
            clock.advance(Duration::from_secs(60)).await;
            assert!(campaign.await.unwrap().is_ok());
        });
    }

    #[test]
    fn a_leader_with_another_lease_is_warned_of_once() {
        in_virtual_time(async |clock| {
            let lock = Arc::new(MemoryLock::builder("jobs").push(Push::Hint).forgets().build());
            let elector = Elector::builder(lock).clock(clock.clone()).build().unwrap();
            let campaign = tokio::spawn({
                let elector = elector.clone();
                async move { elector.campaign().await }
            });
            clock.advance(Duration::from_secs(16)).await;
            let Leader::Held(leading) = elector.status().leader else { panic!("somebody leads") };
            assert_eq!(unlike_leases(&leading, Duration::from_secs(15)), None);
            let warning = unlike_leases(&leading, Duration::from_secs(5)).unwrap();
            assert!(warning.contains("is 15s, and this candidate's is 5s"), "{warning}");
            let mut unlike = Unlike::default();
            unlike.note(&leading, Duration::from_secs(5));
            assert_eq!(unlike.said, Some(Duration::from_secs(15)));
            drop(campaign);
        });
    }
}

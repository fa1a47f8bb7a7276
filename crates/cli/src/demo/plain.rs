//! A story as lines, without a terminal.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::{Incarnation, LockBackend};
use leasehold::status::printable;
use leasehold::testing::MemoryLock;
use leasehold::testing::VirtualClock;
use leasehold::timing::{BootClock, Clock, Time};
use leasehold::{Builder, Error, ErrorKind, TimingSettings};
use leasehold_testing::history::{Event, What};
use leasehold_testing::judge::Violation;
use leasehold_testing::link::Latency;
use leasehold_testing::timeline;
use tokio::task::LocalSet;

use super::stage::{Act, Cast, NAMES, Stage, readable};
use super::story::{Draws, Fates};
use super::tell::Teller;
pub use super::tell::{Line, Tone};

/// How far time moves before somebody looks what happened.
const STEP: Duration = Duration::from_millis(10);

/// Which story.
#[derive(Clone, Debug)]
pub struct Story {
    /// The lock; `None` is one in memory, in virtual time.
    pub lock: Option<String>,
    /// The timing.
    pub settings: TimingSettings,
    /// What happens.
    pub seed: u64,
    /// For how long.
    pub length: Duration,
}

/// A story that was told.
#[derive(Debug)]
pub struct Told {
    /// All that happened.
    pub events: Vec<Event>,
    /// What of it must not have.
    pub violations: Vec<Violation>,
}

impl Told {
    /// A picture of it, as SVG.
    #[must_use]
    pub fn picture(&self) -> String {
        timeline::svg("leasehold demo: three candidates, one lock", &self.events)
    }
}

/// Tells a story line by line, with candidates that are built like this.
///
/// # Errors
/// The store, or the timing.
pub fn tell(
    story: &Story,
    tune: impl Fn(Builder) -> Builder,
    mut say: impl FnMut(&Line),
) -> Result<Told, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |error| Error::new(ErrorKind::Unavailable, "start a runtime", error);
    let runtime = runtime.map_err(failed)?;
    let local = LocalSet::new();
    let told = runtime.block_on(local.run_until(play(story, &tune, &mut say)));
    runtime.shutdown_background();
    told
}

async fn play(
    story: &Story,
    tune: &impl Fn(Builder) -> Builder,
    say: &mut impl FnMut(&Line),
) -> Result<Told, Error> {
    let simulated = story.lock.is_none().then(VirtualClock::new);
    let clock: Arc<dyn Clock> = match &simulated {
        Some(clock) => Arc::new(clock.clone()),
        None => Arc::new(BootClock::new()),
    };
    let draws = RefCell::new(Draws::new(story.seed));
    let memory = MemoryLock::new("mem:demo");
    let opened = match &story.lock {
        Some(url) => Some(crate::lock::Lock::connect(url).await?.backend()),
        None => None,
    };
    if let Some(lock) = &opened {
        readable(lock.as_ref()).await?;
    }
    let cast = Cast {
        open: Box::new(|| match &opened {
            Some(lock) => Ok(lock.clone()),
            None => Ok(Arc::new(memory.clone()) as Arc<dyn LockBackend>),
        }),
        settings: story.settings,
        latency: Box::new(|_| match story.lock {
            Some(_) => Latency::default(),
            None => draws.borrow_mut().latency(),
        }),
        tune: Box::new(|builder| match story.lock {
            Some(_) => tune(builder),
            // The jitter of a candidate is drawn from it.
            None => {
                let mut draws = draws.borrow_mut();
                let number = (u128::from(draws.next()) << 64) | u128::from(draws.next());
                tune(builder.incarnation(Incarnation(number)))
            }
        }),
        apart: false,
    };
    let begin = clock.now();
    let mut stage = Stage::open(clock.clone(), cast)?;
    let mut teller = Teller::new(begin);
    let lock = opened.as_ref().map_or("a lock in memory, virtual time", |lock| lock.name());
    let title = format!("three candidates for {}; seed {}", printable(lock), story.seed);
    say(&teller.line(begin, "", Tone::Plain, title));
    let timing = stage.timing.to_string();
    let durations: Vec<&str> = timing.split(", ").collect();
    // So many as fit a narrow terminal.
    for two in durations.chunks(2) {
        say(&teller.line(begin, "", Tone::Plain, two.join(", ")));
    }
    let mut scene = Scene { simulated, draws: &draws, told: 0, fates: Fates::new() };
    scene.run(&mut stage, &mut teller, say, begin + story.length).await?;
    stage.close();
    let end = clock.now() + stage.timing.request_timeout();
    scene.until(&mut stage, &mut teller, say, end).await;
    let (events, violations) = (stage.history().events(), stage.violations(story.lock.is_some()));
    for line in teller.verdict(clock.now(), events.len(), &violations) {
        say(&line);
    }
    Ok(Told { events, violations })
}

fn is_cause(what: &What) -> bool {
    matches!(what, What::Died | What::Stopped(_) | What::Fault { .. })
}

struct Scene<'a> {
    simulated: Option<VirtualClock>,
    draws: &'a RefCell<Draws>,
    /// How many events were told.
    told: usize,
    fates: Fates,
}

impl Scene<'_> {
    /// One fate after the other, each struck at whoever leads, until the end.
    async fn run(
        &mut self,
        stage: &mut Stage<'_>,
        teller: &mut Teller,
        say: &mut impl FnMut(&Line),
        end: Time,
    ) -> Result<(), Error> {
        let lease = stage.timing.lease_duration();
        while stage.clock.now() < end {
            let pause = self.draws.borrow_mut().time(lease / 2, lease / 2);
            self.until(stage, teller, say, (stage.clock.now() + pause).min(end)).await;
            if let Some(error) = stage.hopeless() {
                return Err(error);
            }
            let Some(leader) = stage.leader() else { continue };
            let act = self.fates.next(&mut self.draws.borrow_mut());
            let patience = stage.clock.now() + lease;
            while act == Act::Freeze && !stage.writes(leader) && stage.clock.now() < patience {
                self.until(stage, teller, say, stage.clock.now() + STEP).await;
            }
            if act == Act::Resign {
                let text = "is asked to give the lock back";
                say(&teller.line(stage.clock.now(), NAMES[leader], Tone::Plain, text));
            }
            stage.act(leader, act)?;
            // Long enough for another to lead.
            let pause = self.draws.borrow_mut().time(lease * 3 / 2, lease / 2);
            self.until(stage, teller, say, (stage.clock.now() + pause).min(end)).await;
            match act {
                Act::Kill => {
                    stage.act(leader, Act::Revive)?;
                    let text = "is back, as a stranger to its former self";
                    say(&teller.line(stage.clock.now(), NAMES[leader], Tone::Plain, text));
                }
                Act::Freeze | Act::Cut => drop(stage.act(leader, act)?),
                Act::Resign | Act::Revive => {}
            }
        }
        Ok(())
    }

    /// Lets time pass, and tells what happens in it.
    async fn until(
        &mut self,
        stage: &mut Stage<'_>,
        teller: &mut Teller,
        say: &mut impl FnMut(&Line),
        end: Time,
    ) {
        while stage.clock.now() < end {
            match &self.simulated {
                Some(clock) => clock.advance(STEP.min(end.since(clock.now()))).await,
                None => stage.clock.sleep_until(stage.clock.now() + STEP).await,
            }
            let mut news = stage.history().since(self.told);
            self.told += news.len();
            // What happens at one instant has no order: causes first, and then by name, so that a
            // seed tells the same.
            news.sort_by_key(|event| (event.at, !is_cause(&event.what), event.node.clone()));
            for line in news.iter().filter_map(|event| teller.tell(event)) {
                say(&line);
            }
        }
    }
}

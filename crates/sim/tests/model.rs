//! The model checker itself: its renaming, small runs, and that it finds what it must.

use leasehold_sim::model::{
    ANY, Event, Limits, Mode, Rates, Setup, Step, World, all, explore, tell,
};

/// Every step there is; restarts and deletions in turns, since together they make tokens repeat.
fn everything(mode: Mode, seed: u64) -> Setup {
    // No run deletes what a store that forgets holds.
    let deletes = u8::from(seed.is_multiple_of(2) && mode != Mode::Forgets);
    Setup {
        name: "everything",
        mode,
        lease: 4,
        deadline: 2,
        rates: &[Rates { candidates: [1, 2], store: 2 }],
        late: true,
        zombies: 2,
        resigns: true,
        expires: true,
        withdraws: true,
        restarts: if deletes == 0 { ANY } else { 0 },
        deletes,
        restores: 1,
        copies: true,
        mutant: None,
    }
}

/// A stream of numbers that a seed stands for (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("below a usize")
    }
}

impl Draws {
    /// Three times of four something ordinary, so that somebody gets to lead.
    fn step(&mut self, steps: &[Step]) -> Step {
        let ordinary =
            |step: &&Step| matches!(step, Step::Arrive(_) | Step::Answer(_) | Step::Tick);
        let ordinary: Vec<Step> = steps.iter().filter(ordinary).copied().collect();
        let from = if self.below(4) > 0 && !ordinary.is_empty() { &ordinary } else { steps };
        from[self.below(from.len())]
    }
}

fn renamed(world: &World) -> World {
    let mut world = world.clone();
    world.rename();
    world
}

/// After a step from a state that was never renamed, renaming gives what the same step gives from
/// the renamed state: for every step, in every state of many walks. So no renaming changes what
/// anybody does or believes.
#[test]
fn renaming_changes_nothing_that_happens() {
    let (mut compared, mut led) = (0, 0);
    for mode in [Mode::ByObserver, Mode::ByServer, Mode::Forgets] {
        for seed in 0..150 {
            let setup = everything(mode, seed);
            let mut draws = Draws(seed);
            let mut plain = World::new(&setup, setup.rates[0]).unwrap();
            for depth in 0..150 {
                let canonical = renamed(&plain);
                let plain_steps = steps(&setup, &plain);
                let canonical_steps = steps(&setup, &canonical);
                let both = canonical_steps.iter().filter(|step| plain_steps.contains(step));
                for step in both {
                    let (mut a, mut b) = (plain.clone(), canonical.clone());
                    let events = (a.take(&setup, *step), b.take(&setup, *step));
                    for x in 0..2 {
                        assert_eq!(a.leads(x).is_some(), b.leads(x).is_some(), "seed {seed}");
                    }
                    for event in [Event::ZombieApplied, Event::AmbiguousThenOwn, Event::Reassertion]
                    {
                        assert_eq!(
                            events.0.has(event),
                            events.1.has(event),
                            "seed {seed}, {step:?}"
                        );
                    }
                    same(
                        &renamed(&a),
                        &renamed(&b),
                        &format!("seed {seed}, depth {depth}, {step:?}"),
                    );
                    compared += 1;
                }
                if plain_steps.is_empty() {
                    break;
                }
                plain.take(&setup, draws.step(&plain_steps));
                led += usize::from(plain.leads(0).is_some());
            }
        }
    }
    assert!(compared > 100_000 && led > 1_000, "{compared} compared, {led} led");
}

/// Two states are too long to be read whole.
fn same(a: &World, b: &World, at: &str) {
    if a == b {
        return;
    }
    let (a, b) = (format!("{a:#?}"), format!("{b:#?}"));
    let differ = a.lines().zip(b.lines()).enumerate().filter(|(_, (a, b))| a != b).take(10);
    let differ: Vec<String> = differ.map(|(n, (a, b))| format!("{n}: {a} / {b}")).collect();
    panic!("{at}:\n{}", differ.join("\n"));
}

/// What renaming takes away can do nothing: a step that is possible before it only changes nothing,
/// or is the answer that a refused write would have got.
#[test]
fn what_is_doomed_changes_nothing() {
    let mut doomed = 0;
    for mode in [Mode::ByObserver, Mode::ByServer, Mode::Forgets] {
        for seed in 1000..1150 {
            let setup = everything(mode, seed);
            let mut draws = Draws(seed);
            let mut plain = World::new(&setup, setup.rates[0]).unwrap();
            for depth in 0..150 {
                let canonical = renamed(&plain);
                let plain_steps = steps(&setup, &plain);
                let canonical_steps = steps(&setup, &canonical);
                let gone = |step: &&Step| {
                    // Instead of losing the newer of two writes, of which the older is doomed, none
                    // is lost.
                    !canonical_steps.contains(step) && !matches!(step, Step::Lose(_))
                };
                for step in plain_steps.iter().filter(gone) {
                    let mut after = plain.clone();
                    after.take(&setup, *step);
                    assert_eq!(renamed(&after), canonical, "seed {seed}, depth {depth}, {step:?}");
                    doomed += 1;
                }
                if plain_steps.is_empty() {
                    break;
                }
                plain.take(&setup, draws.step(&plain_steps));
            }
        }
    }
    assert!(doomed > 1_000, "{doomed} doomed");
}

fn steps(setup: &Setup, world: &World) -> Vec<Step> {
    let mut steps = Vec::new();
    world.steps(setup, &mut steps);
    steps
}

/// A small space, in seconds: complete and safe within the bound, two leaders beyond it, and every
/// way to a broken rule can be told.
#[test]
fn small_runs_find_what_they_must() {
    let limits = Limits { threads: 2, states: 1_000_000, memory: 4096 };
    let small = Setup {
        restarts: 0,
        deletes: 0,
        restores: 0,
        zombies: 0,
        late: false,
        ..everything(Mode::ByObserver, 0)
    };
    let small = Setup { lease: 3, resigns: false, expires: false, withdraws: false, ..small };
    let rates = &[Rates { candidates: [1, 1], store: 1 }];
    let safe = explore::<World>(&Setup { rates, ..small.clone() }, limits).unwrap();
    assert!(safe.violation.is_none() && safe.states > 10_000, "{safe:?}");
    assert!(safe.events.of(Event::HandOver) > 0 && safe.events.of(Event::AmbiguousThenOwn) > 0);

    let mut violations = 0;
    for run in all().into_iter().filter(|run| FOUND_SOON.contains(&run.setup.name)) {
        let outcome = explore::<World>(&run.setup, limits).unwrap();
        run.judge(&outcome).unwrap_or_else(|error| panic!("{}: {error}", run.setup.name));
        let (rule, begin, steps) = outcome.violation.unwrap();
        let story = tell(&run.setup, &begin, &steps);
        assert!(story.last().unwrap().starts_with(&format!("VIOLATION {rule:?}")), "{story:?}");
        violations += 1;
    }
    assert_eq!(violations, FOUND_SOON.len());
}

/// Runs that must break a rule and do so after few states.
const FOUND_SOON: [&str; 7] = [
    "observer-beyond",
    "server-beyond",
    "observer-mutant-timeout-is-success",
    "observer-mutant-takes-absent",
    "observer-mutant-old-write-is-copys",
    "server-mutant-resurrects",
    "server-mutant-deadline-from-answer",
];

#[test]
fn what_does_not_fit_is_not_complete() {
    let setup = everything(Mode::ByServer, 0);
    let few = Limits { threads: 1, states: 1_000, memory: 4096 };
    let error = explore::<World>(&setup, few).unwrap_err().to_string();
    assert!(error.starts_with("not complete: stopped at "), "{error}");
    let small = Limits { threads: 1, states: 1_000_000, memory: 0 };
    let error = explore::<World>(&setup, small).unwrap_err().to_string();
    assert!(error.contains("MiB"), "{error}");
}

#[test]
fn every_safe_run_is_within_the_bound_and_the_others_say_why_not() {
    for run in all() {
        let within = run.setup.is_within_bound().unwrap();
        assert_eq!(within, !run.setup.name.ends_with("-beyond"), "{}", run.setup.name);
        let sound = run.breaks.is_empty();
        let defect = run.setup.mutant.is_some() || !within;
        assert!(!sound || !defect, "{}", run.setup.name);
    }
}

fn command(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_leasehold-model"))
        .args(arguments)
        .output()
        .expect("the command is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_command_says_what_it_found_and_what_it_did_not_finish() {
    let (code, text) = command(&["--trace", "server-beyond"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("beyond the bound") && text.contains("breaks Belief"), "{text}");
    assert!(text.contains("LEADS with token") && text.contains("VIOLATION Belief"), "{text}");
    assert!(text.ends_with("1 runs, 0 failed\n"), "{text}");

    let (code, text) = command(&["--states", "1000", "observer-equal"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(" FAILED: not complete: stopped at "), "{text}");

    let (code, text) = command(&["observer-nothing"]);
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("--list names them"), "{text}");
}

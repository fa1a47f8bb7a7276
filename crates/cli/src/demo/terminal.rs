//! The demonstration in a terminal, in real time: keys, and the loop that draws.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use leasehold::timing::{BootClock, Clock};
use leasehold::url::LockUrl;
use leasehold::{Error, ErrorKind, TimingSettings};
use leasehold_testing::link::Latency;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::past::Past;
use super::screen::{self, View};
use super::stage::{Act, Cast, Health, NAMES, Stage, readable};
use super::tell::{Line, Teller, Tone};
use crate::args::Colour;
use crate::output::{Paint, print_error, write};
use crate::signals::{Request, Signals};
use crate::{exit, runtime};

/// How often it is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// The exit code where the terminal is gone, whether or not the signal that says so was faster.
const HANGUP: u8 = 128 + 1;

/// How many lines are kept.
const LINES: usize = 500;

/// Runs until somebody quits. Returns the exit code.
pub(super) fn main(lock: Option<&str>, settings: TimingSettings, colour: Colour) -> u8 {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        print_error(&"the demonstration needs a terminal; --plain tells a story as lines");
        return exit::USAGE;
    }
    let scratch = match lock.is_none().then(Scratch::new).transpose() {
        Ok(scratch) => scratch,
        Err(error) => {
            print_error(&format!("cannot make a directory for the lock: {error}"));
            return exit::UNAVAILABLE;
        }
    };
    let url =
        lock.map_or_else(|| scratch.as_ref().map(Scratch::url).unwrap_or_default(), str::to_owned);
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let paint = Paint::stdout(colour);
    let local = LocalSet::new();
    let ended = runtime.block_on(local.run_until(show(&url, settings, paint)));
    runtime.shutdown_background();
    match ended {
        Ok((code, lines)) => {
            for line in lines {
                let _ = write(&format!("{}\n", line.painted(paint)));
            }
            code
        }
        Err(error) => {
            print_error(&error);
            exit::of_error(&error)
        }
    }
}

async fn show(url: &str, settings: TimingSettings, paint: Paint) -> Result<(u8, Vec<Line>), Error> {
    let clock: Arc<dyn Clock> = Arc::new(BootClock::new());
    let parsed = LockUrl::parse(url)?;
    let lock = parsed.open().await?.lock();
    // Where the store sees deaths, each candidate opens the lock itself, as a process would.
    let sees_deaths = lock.capabilities().sees_deaths;
    let open = || match sees_deaths {
        true => parsed.open().now_or_never().expect("such a store is local").map(|it| it.lock()),
        false => Ok(lock.clone()),
    };
    let cast = Cast {
        open: Box::new(open),
        settings,
        latency: Box::new(|_| Latency::default()),
        tune: Box::new(|builder| builder),
        apart: true,
    };
    let name = lock.name().to_owned();
    readable(lock.as_ref()).await?;
    let mut stage = Stage::open(clock.clone(), cast)?;
    let failed = |error| Error::new(ErrorKind::Unavailable, "use the terminal", error);
    let mut signals = Signals::install().map_err(failed)?;
    let mut app = App::new(clock.now());
    let screen = Screen::open().map_err(failed)?;
    let code = app.run(&mut stage, screen, &mut signals, (&name, paint)).await?;
    stage.close();
    clock.sleep_until(clock.now() + 2 * FRAME).await;
    let violations = stage.violations(true);
    let events = stage.history().mark();
    let lines = app.teller.verdict(clock.now(), events, &violations);
    Ok((if violations.is_empty() { code } else { exit::INTERNAL }, lines))
}

struct App {
    teller: Teller,
    lines: VecDeque<Line>,
    past: Past,
    /// How many events were told.
    told: usize,
    /// Why the store refuses each candidate, as was told last.
    refused: [Option<String>; NAMES.len()],
    chosen: usize,
}

impl App {
    fn new(begin: leasehold::timing::Time) -> Self {
        let (teller, lines) = (Teller::new(begin), VecDeque::new());
        let past = Past::default();
        Self { teller, lines, past, told: 0, refused: Default::default(), chosen: 0 }
    }

    async fn run(
        &mut self,
        stage: &mut Stage<'_>,
        mut screen: Screen,
        signals: &mut Signals,
        (lock, paint): (&str, Paint),
    ) -> Result<u8, Error> {
        let mut keys = keys();
        // Not at every key: it takes the time in which the candidates run.
        let mut draws_at = stage.clock.now();
        loop {
            if stage.clock.now() >= draws_at {
                self.listen(stage);
                if let Some(error) = stage.hopeless() {
                    return Err(error);
                }
                if self.draw(stage, &mut screen, (lock, paint)).is_err() {
                    return Ok(HANGUP);
                }
                draws_at = stage.clock.now() + FRAME;
            }
            tokio::select! {
                key = keys.recv() => match key {
                    Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                        if !self.pressed(stage, key) {
                            return Ok(0);
                        }
                    }
                    Some(_) => {}
                    None => return Ok(HANGUP),
                },
                signal = signals.next() => match signal {
                    Request::Stop(number) | Request::Forward(number) => {
                        return Ok(exit::by_signal(number));
                    }
                    Request::Tell(_) | Request::Reap => {}
                },
                () = stage.clock.sleep_until(draws_at) => {}
            }
        }
    }

    fn draw(
        &self,
        stage: &Stage<'_>,
        screen: &mut Screen,
        (lock, paint): (&str, Paint),
    ) -> io::Result<()> {
        let (past, events) = (&self.past, self.past.events());
        let (lines, chosen) = (&self.lines, self.chosen);
        let view = View { lock, stage, past, events: &events, lines, chosen, paint };
        screen.terminal.draw(|frame| screen::draw(frame, &view)).map(drop)
    }

    fn listen(&mut self, stage: &Stage<'_>) {
        let news = stage.history().since(self.told);
        self.told += news.len();
        self.past.learn(&news, stage.clock.now());
        let lines: Vec<Line> = news.iter().filter_map(|event| self.teller.tell(event)).collect();
        lines.into_iter().for_each(|line| self.say(line));
        for (at, name) in NAMES.iter().enumerate() {
            let Some(error) = stage.refusal(at) else { continue };
            let why = error.to_string();
            if self.refused[at].as_ref() == Some(&why) {
                continue;
            }
            let line = self.teller.line(stage.clock.now(), name, Tone::Bad, why.clone());
            self.say(line);
            self.refused[at] = Some(why);
        }
    }

    fn say(&mut self, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Whether to go on.
    fn pressed(&mut self, stage: &mut Stage<'_>, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let act = match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if control => return false,
            KeyCode::Char(number @ '1'..='3') => {
                self.chosen = usize::from(number as u8 - b'1');
                return true;
            }
            KeyCode::Down | KeyCode::Tab => {
                self.chosen = (self.chosen + 1) % NAMES.len();
                return true;
            }
            KeyCode::Up => {
                self.chosen = (self.chosen + NAMES.len() - 1) % NAMES.len();
                return true;
            }
            KeyCode::Char('k') => Act::Kill,
            KeyCode::Char('f') => Act::Freeze,
            KeyCode::Char('x') => Act::Cut,
            KeyCode::Char('r') => Act::Resign,
            KeyCode::Char('b') => Act::Revive,
            _ => return true,
        };
        let now = stage.clock.now();
        let done = stage.act(self.chosen, act);
        let text = match (&done, act) {
            (Ok(true), Act::Resign) => {
                Some((Tone::Plain, "is asked to give the lock back".to_owned()))
            }
            (Ok(true), Act::Revive) => {
                Some((Tone::Plain, "is back, as a stranger to its former self".to_owned()))
            }
            (Ok(true), _) => None,
            (Ok(false), Act::Revive) => Some((Tone::Plain, "is not dead".to_owned())),
            (Ok(false), Act::Resign) if stage.health(self.chosen) != Health::Dead => {
                Some((Tone::Plain, "does not lead: it has nothing to give back".to_owned()))
            }
            (Ok(false), _) => Some((Tone::Plain, "is dead: b brings it back".to_owned())),
            (Err(error), _) => Some((Tone::Bad, error.to_string())),
        };
        if let Some((tone, text)) = text {
            let line = self.teller.line(now, NAMES[self.chosen], tone, text);
            self.say(line);
        }
        true
    }
}

/// The terminal, given back when this goes; a panic gives it back before it says why.
///
/// One that is gone cannot be given back. ratatui would say so on standard error, where that very
/// terminal may be, and panic: hence neither `ratatui::restore` nor the end of its `Terminal`.
struct Screen {
    terminal: ManuallyDrop<ratatui::DefaultTerminal>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let said = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Neither here: a panic within the hook ends the process before its directory is
            // removed.
            let _ = ratatui::try_restore();
            said(info);
        }));
        // Not `try_init`, whose hook says what failed.
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self { terminal: ManuallyDrop::new(terminal) })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        // A panic has done the rest, and to do it again would hide what it said.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// What is typed. A thread, since a terminal is read only by waiting; it ends with the process.
fn keys() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A directory that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        // The standard library's only source of randomness.
        let number = RandomState::new().build_hasher().finish();
        let path = std::env::temp_dir().join(format!("leasehold-demo-{number:016x}"));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn url(&self) -> String {
        format!("file:{}", self.0.join("lock").display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over only if it could not be removed, where temporary files are.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

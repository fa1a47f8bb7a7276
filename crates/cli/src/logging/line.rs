//! A log line: the one place where events become text, so that no call can forget that others chose
//! a part of it.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use leasehold::status::{printable, redacted};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::notice::timestamp;
use crate::output::{Paint, json};

/// The longest message or field, in characters.
const LONGEST: usize = 4_000;

/// How a line is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    /// For people.
    Text(Paint),
    /// One JSON object.
    Json,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        writer.write_str(&self.written(*event.metadata().level(), &parts, SystemTime::now()))
    }
}

impl Line {
    fn written(self, level: Level, parts: &Parts, at: SystemTime) -> String {
        let at = timestamp(at);
        match self {
            Self::Text(paint) => text(paint, level, parts, &at),
            Self::Json => {
                let mut object = Map::new();
                object.insert("timestamp".to_owned(), at.into());
                object.insert("level".to_owned(), level.as_str().into());
                if let Some(message) = &parts.message {
                    object.insert("message".to_owned(), message.as_str().into());
                }
                let fields =
                    parts.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                object.extend(fields);
                format!("{}\n", json(&Value::Object(object)))
            }
        }
    }
}

fn text(paint: Paint, level: Level, parts: &Parts, at: &str) -> String {
    let word = format!("{:>5}", level.as_str());
    let word = match level {
        Level::ERROR => paint.bad(&word),
        Level::WARN => paint.doubtful(&word),
        Level::INFO => paint.good(&word),
        _ => word,
    };
    let mut line = format!("{at} {word}");
    if let Some(message) = &parts.message {
        let _ = write!(line, " {message}");
    }
    for (name, value) in &parts.fields {
        let _ = match value {
            // In quotes, with those inside escaped: where it ends is plain.
            Value::String(text) => write!(line, " {name}={}", quoted(text)),
            other => write!(line, " {name}={other}"),
        };
    }
    line.push('\n');
    line
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// What an event says, made fit to be shown.
#[derive(Default)]
struct Parts {
    message: Option<String>,
    fields: Vec<(&'static str, Value)>,
}

impl Parts {
    fn note(&mut self, field: &Field, text: &str) {
        let text = printable(&redacted(text)).at_most(LONGEST).to_string();
        match field.name() {
            "message" => self.message = Some(text),
            name => self.fields.push((name, text.into())),
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{7}\r\n2026-11-30T00:00:00.000Z  INFO leading \
                           token=9\0\u{9b}31m\u{202e}\" b=1";

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(line: Line, tell: impl FnOnce()) -> String {
        let kept = Kept::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(kept.clone()).event_format(line).finish();
        tracing::subscriber::with_default(subscriber, tell);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn whatever_others_chose_stays_on_its_line_and_in_its_field() {
        let long = "x".repeat(1 << 20);
        for line in [Line::Text(Paint(false)), Line::Text(Paint(true)), Line::Json] {
            let text = logged(line, || {
                tracing::info!(lock = HOSTILE, error = %HOSTILE, long, token = 7, "{HOSTILE}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && text.len() < 20_000, "{}", text.len());
            let plain = text.trim_end().replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
            assert!(!plain.contains(leasehold::status::is_hidden), "{plain:?}");
            if let Line::Json = line {
                let object: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&object["token"], &object["level"]), (&7.into(), &"INFO".into()));
                assert!(object["lock"].as_str().unwrap().starts_with("a\\u{1b}"), "{object}");
            } else {
                assert!(text.contains(r#"\" b=1" long="#), "{text}");
                assert!(text.ends_with("token=7\n"), "{text}");
            }
        }
    }

    #[test]
    fn a_line_looks_as_ever() {
        let mut parts = Parts { message: Some("leading".to_owned()), fields: Vec::new() };
        parts.fields.push(("lock", "file:/x".into()));
        parts.fields.push(("token", 7.into()));
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(
            Line::Text(Paint(false)).written(Level::WARN, &parts, at),
            "1970-01-01T00:00:01.500Z  WARN leading lock=\"file:/x\" token=7\n"
        );
    }

    #[test]
    fn secrets_of_dependencies_do_not_come_through() {
        for line in [Line::Text(Paint(false)), Line::Json] {
            let text = logged(line, || {
                tracing::info!(url = "http://me:s3cret@proxy", "no http://me:s3cret@proxy:1/");
            });
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

//! The life of a lease without renewal, drawn in proportion.

use std::time::Duration;

use leasehold::timing::{Explanation, Timing};

use super::said;
use crate::output::Paint;

/// How many columns the drawing takes besides its margin: with it less than a terminal of 80 has.
const WIDTH: usize = 68;

const MARGIN: &str = "    ";

/// A bar with its phases, and below it the marks with their moments.
pub(super) fn drawn(found: &Explanation, paint: Paint) -> String {
    let timing = &found.timing;
    let stop = timing.renew_deadline();
    let kill = stop + timing.stop_grace();
    let pass = timing.lease_duration();
    let end = if found.store.by_server { pass } else { Timing::wait(pass) + timing.max_jitter() };
    let column = |at: Duration| place(at, end);
    let length = |from: Duration, to: Duration| column(to).saturating_sub(column(from));
    let bar = [
        paint.good(&phase("leads", '█', length(Duration::ZERO, stop))),
        paint.doubtful(&phase("stops", '▓', length(stop, kill))),
        paint.bad(&phase("", '░', length(kill, pass))),
        paint.bold(&phase("", '·', length(pass, end))),
    ];
    let marks = [(Duration::ZERO, '├'), (stop, '┼'), (kill, '┼'), (pass, '┤')];
    let mut line = vec![' '; WIDTH + 1];
    for (at, mark) in marks {
        line[column(at)] = mark;
    }
    let line: String = line.into_iter().collect();
    let labels = labels(&[Duration::ZERO, stop, kill, pass].map(|at| (column(at), said(at))));
    let mut text = format!("{MARGIN}{}\n{MARGIN}{}\n", bar.concat(), line.trim_end());
    for line in labels {
        text.push_str(&format!("{MARGIN}{line}\n"));
    }
    text
}

/// The column of a moment, where `end` is the last one.
fn place(at: Duration, end: Duration) -> usize {
    let share = at.as_micros().saturating_mul(WIDTH as u128) / end.as_micros().max(1);
    usize::try_from(share).unwrap_or(WIDTH).min(WIDTH)
}

/// So many columns, with the word inside if it fits.
fn phase(word: &str, fill: char, columns: usize) -> String {
    let filled: String = std::iter::repeat_n(fill, columns).collect();
    if word.is_empty() || columns < word.len() + 4 {
        return filled;
    }
    let before = (columns - word.len() - 2) / 2;
    let after = columns - word.len() - 2 - before;
    let fill = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    format!("{} {word} {}", fill(before), fill(after))
}

/// Each text below its column, in as many lines as it takes for none to touch another.
fn labels(texts: &[(usize, String)]) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for (at, (column, text)) in texts.iter().enumerate() {
        if texts[..at].iter().any(|(_, before)| before == text) {
            continue;
        }
        // The middle of the text below its mark, and all of it within the width.
        let column = column.saturating_sub(text.len() / 2).min(WIDTH.saturating_sub(text.len()));
        let fits = |line: &String| line.is_empty() || line.chars().count() < column;
        let at = lines.iter().position(fits).unwrap_or(lines.len());
        if at == lines.len() {
            lines.push(String::new());
        }
        let pad = column - lines[at].chars().count();
        lines[at].push_str(&" ".repeat(pad));
        lines[at].push_str(text);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_never_touch() {
        let lines =
            labels(&[(0, "0s".into()), (60, "14s".into()), (62, "15s".into()), (63, "16s".into())]);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert!(lines[0].starts_with("0s") && lines[0].ends_with("14s"));
    }

    #[test]
    fn the_phases_fill_the_width_in_proportion() {
        let end = Duration::from_secs(10);
        assert_eq!(place(Duration::from_secs(5), end), WIDTH / 2);
        assert_eq!(place(end * 2, end), WIDTH);
        assert_eq!(phase("leads", '#', 20).chars().count(), 20);
        assert_eq!(phase("leads", '#', 5), "#####");
    }
}

//! Choosing events from the kernel's text (docs/formats/events.md), where it may be read again with more at its end and
//! less at its beginning.

use alloc::vec::Vec;

const MARK: &str = "[evt] ";

/// Name and time of a line, `None` if it is no event.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix(MARK).unwrap_or(line).split_once(' ')?;
    Some((name, rest.strip_prefix("t=")?.split(' ').next()?))
}

/// Whether an event's name is one of these, or begins with one and a dot, which may be given with it. No names: every event.
pub fn wanted(line: &str, names: &[&str]) -> bool {
    let Some((name, _)) = parts(line) else { return false };
    let fits = |wanted: &&str| {
        let rest = name.strip_prefix(wanted.strip_suffix('.').unwrap_or(wanted));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    names.is_empty() || names.iter().any(fits)
}

/// A time `SECONDS.MICROS` in microseconds.
fn micros(time: &str) -> Option<u64> {
    let (seconds, fraction) = time.split_once('.')?;
    (fraction.len() == 6).then_some(())?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
}

/// Remembers how far a reader has come. Times never fall, so what is new has a later time, or the last one's time and
/// stands behind as many of that time as were seen.
#[derive(Debug, Default)]
pub struct Place {
    last: u64,
    seen: usize,
}

impl Place {
    /// The events of `text` that have not been given before.
    pub fn news<'a>(&mut self, text: &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        let (old, mut at_old) = (self.last, 0);
        let skipped = self.seen;
        for line in text.lines() {
            let Some(time) = parts(line).and_then(|(_, time)| micros(time)) else { continue };
            if time == old {
                at_old += 1;
            }
            if time < old || (time == old && at_old <= skipped) {
                continue;
            }
            self.seen = if time == self.last { self.seen + 1 } else { 1 };
            self.last = time;
            found.push(line);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_fit_whole_or_up_to_a_dot() {
        let line = "[evt] cpu.online t=0.100000 cpu=1 mpidr=0x1";
        assert!(wanted(line, &[]) && wanted(line, &["cpu"]) && wanted(line, &["x", "cpu.online"]));
        assert!(wanted(line, &["cpu."]) && wanted(line, &["x.", "cpu.online."]));
        assert!(!wanted(line, &["cp."]) && !wanted(line, &["."]) && !wanted(line, &["cpu.."]));
        assert!(!wanted(line, &["cp"]) && !wanted(line, &["cpu.on"]) && !wanted(line, &["cpu.online.x"]));
        assert!(!wanted("no event", &[]) && !wanted("", &[]));
    }

    #[test]
    fn each_event_is_given_once_also_of_equal_times_and_from_a_ring() {
        let mut place = Place::default();
        let text = "[evt] a t=0.000001\n[evt] b t=0.000002\n[evt] c t=0.000002\n";
        assert_eq!(place.news(text).len(), 3);
        assert!(place.news(text).is_empty());
        let more = "[evt] b t=0.000002\n[evt] c t=0.000002\n[evt] d t=0.000002\ngarbage\n[evt] e t=1.000000\n";
        assert_eq!(place.news(more), ["[evt] d t=0.000002", "[evt] e t=1.000000"]);
        assert_eq!(place.news("[evt] f t=1.000001\n"), ["[evt] f t=1.000001"]);
    }

    proptest! {
        /// However a growing log is cut into readings, all of it comes out once and in order.
        #[test]
        fn nothing_is_lost_or_doubled(steps in prop::collection::vec(0u64..3, 1..40), cuts in prop::collection::vec(0usize..40, 0..8)) {
            let mut time = 0;
            let lines: Vec<String> = steps.iter().enumerate().map(|(i, step)| {
                time += step;
                format!("[evt] n{i} t=0.{time:06}")
            }).collect();
            let mut ends: Vec<usize> = cuts.into_iter().map(|c| c.min(lines.len())).collect();
            ends.sort_unstable();
            ends.push(lines.len());
            let (mut place, mut given) = (Place::default(), Vec::new());
            for end in ends {
                let text = lines[..end].join("\n");
                given.extend(place.news(&text).into_iter().map(String::from));
            }
            prop_assert_eq!(given, lines);
        }

        #[test]
        fn no_text_harms(text in "[ -~\n]{0,200}") {
            Place::default().news(&text);
            wanted(&text, &["a"]);
        }
    }
}

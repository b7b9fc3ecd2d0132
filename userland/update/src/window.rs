//! When the machine may restart by itself to try a release: `always`, `never`, or hours of the day in UTC, `22:30-04:00`.

use core::fmt;

const DAY: u64 = 24 * 60;

/// Minutes of the day; the end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// At any time.
    Always,
    /// Only by order.
    Never,
    /// Between two times of the day, over midnight when the second is the earlier one.
    Hours(u64, u64),
}

impl Window {
    /// Reads one.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => {
                let hours = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
                match hours {
                    Some((from, to)) if from != to => Ok(Self::Hours(from, to)),
                    _ => Err("expected 'always', 'never', or two different times in UTC such as 22:30-04:00"),
                }
            }
        }
    }

    /// Whether this time lies in it; seconds since 1970.
    pub fn holds(self, now: u64) -> bool {
        let minute = now / 60 % DAY;
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Hours(from, to) if from < to => (from..to).contains(&minute),
            Self::Hours(from, to) => minute >= from || minute < to,
        }
    }

    /// Seconds until it opens, 0 while it is open; `None`: never. Seconds since 1970.
    pub fn opens_in(self, now: u64) -> Option<u64> {
        match self {
            Self::Never => None,
            _ if self.holds(now) => Some(0),
            Self::Always => Some(0),
            Self::Hours(from, _) => Some((from * 60 + DAY * 60 - now % (DAY * 60)) % (DAY * 60)),
        }
    }
}

fn minute(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, below: u64| {
        let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|&value: &u64| two && value < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Never => f.write_str("never"),
            Self::Hours(from, to) => {
                write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Who sleeps until then wakes in it, and had it closed before.
        #[test]
        fn it_opens_when_it_says(from in 0..DAY, to in 0..DAY, now in 0u64..1 << 40) {
            prop_assume!(from != to);
            let window = Window::Hours(from, to);
            let wait = window.opens_in(now).unwrap();
            prop_assert!(wait <= DAY * 60 && window.holds(now + wait));
            prop_assert!(wait == 0 || !window.holds(now) && !window.holds(now + wait - 1));
            prop_assert_eq!((Window::Always.opens_in(now), Window::Never.opens_in(now)), (Some(0), None));
        }
    }
    use alloc::string::ToString;

    #[test]
    fn hours_hold_from_the_first_minute_to_the_last_but_one() {
        let at = |hour: u64, minute: u64| 86400 * 3 + hour * 3600 + minute * 60 + 59;
        let night = Window::parse("22:30-04:00").unwrap();
        for (hour, minute, holds) in [(22, 29, false), (22, 30, true), (0, 0, true), (3, 59, true), (4, 0, false)] {
            assert_eq!(night.holds(at(hour, minute)), holds, "{hour}:{minute}");
        }
        let day = Window::parse("08:00-09:00").unwrap();
        assert!(day.holds(at(8, 0)) && !day.holds(at(9, 0)) && !day.holds(at(23, 0)));
        assert!(Window::Always.holds(0) && !Window::Never.holds(0));
        for text in ["always", "never", "22:30-04:00", "00:00-23:59"] {
            assert_eq!(Window::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "22:30", "1:00-02:00", "24:00-01:00", "00:60-01:00", "03:00-03:00", "+1:00-02:00", "a-b"] {
            assert!(Window::parse(wrong).is_err(), "{wrong}");
        }
    }
}

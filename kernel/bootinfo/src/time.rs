//! Dates as seconds since 1970.

/// A date and time of day of the Gregorian calendar, in UTC but for `offset_minutes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// From 1970 on.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Minutes to add to come to UTC, less than two days.
    pub offset_minutes: i16,
}

impl Date {
    /// Seconds since 1970-01-01 00:00 UTC; `None` where it is no date, or before that.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        let months = [31, if is_leap(self.year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let before = usize::from(self.month.checked_sub(1)?);
        let is_day = (1..=*months.get(before)?).contains(&self.day);
        let is_time = self.hour < 24 && self.minute < 60 && self.second < 60;
        if !is_day || !is_time || self.year < 1970 || self.offset_minutes.unsigned_abs() >= 2 * 24 * 60 {
            return None;
        }
        let years: u64 = (1970..self.year).map(|year| 365 + u64::from(is_leap(year))).sum();
        let days = years + months[..before].iter().map(|days| u64::from(*days)).sum::<u64>() + u64::from(self.day - 1);
        let minutes = (days * 24 + u64::from(self.hour)) * 60 + u64::from(self.minute);
        let minutes = minutes.checked_add_signed(self.offset_minutes.into())?;
        Some(minutes * 60 + u64::from(self.second))
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The last second that nanoseconds in an i64 tell, of the year 2262: a signed time behind it is none.
const LAST: u64 = i64::MAX as u64 / 1_000_000_000;

/// What is known of the date at boot, in seconds since 1970; 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownDate {
    /// What the machine's clock shows.
    pub clock: u64,
    /// When the base was made.
    pub base: u64,
    /// The newest signed time that was verified on this machine: that time has been.
    pub signed: u64,
}

/// What the date is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateSource {
    /// The machine's clock.
    Clock,
    /// When the base was made.
    Base,
    /// The newest signed time.
    Signed,
}

impl KnownDate {
    /// The date; and where it is not the clock's, why.
    #[must_use]
    pub fn date(&self) -> (DateSource, u64, Option<&'static str>) {
        let signed = if self.signed <= LAST { self.signed } else { 0 };
        let (from, earliest) =
            if signed > self.base { (DateSource::Signed, signed) } else { (DateSource::Base, self.base) };
        let why = match from {
            _ if self.clock >= earliest.max(1) => return (DateSource::Clock, self.clock, None),
            _ if self.clock == 0 => "it shows no date",
            DateSource::Signed => "it shows a date before the newest signed time",
            _ => "it shows a date before the base was made",
        };
        (from, earliest, Some(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_before_what_has_been_is_replaced() {
        let known = |clock, base, signed| KnownDate { clock, base, signed }.date();
        assert_eq!(known(50, 10, 20), (DateSource::Clock, 50, None));
        assert_eq!(known(20, 10, 20), (DateSource::Clock, 20, None));
        assert_eq!(known(19, 10, 20), (DateSource::Signed, 20, Some("it shows a date before the newest signed time")));
        assert_eq!(known(0, 10, 20), (DateSource::Signed, 20, Some("it shows no date")));
        assert_eq!(known(9, 10, 0), (DateSource::Base, 10, Some("it shows a date before the base was made")));
        assert_eq!(known(9, 10, 10), (DateSource::Base, 10, Some("it shows a date before the base was made")));
        assert_eq!(known(0, 0, 0), (DateSource::Base, 0, Some("it shows no date")));
        // No lie stops the clock: such a time cannot be told.
        assert_eq!(known(50, 10, u64::MAX), (DateSource::Clock, 50, None));
        assert_eq!(
            known(50, 10, LAST),
            (DateSource::Signed, LAST, Some("it shows a date before the newest signed time"))
        );
    }

    const fn date(year: u16, month: u8, day: u8) -> Date {
        Date { year, month, day, hour: 0, minute: 0, second: 0, offset_minutes: 0 }
    }

    /// What `date -u -d … +%s` of the GNU core utilities says.
    #[test]
    fn seconds_are_those_of_date() {
        let time = Date { hour: 7, minute: 8, second: 9, ..date(2031, 5, 6) };
        for (date, seconds) in [
            (date(1970, 1, 1), 0),
            (date(1999, 12, 31), 946_598_400),
            (date(2000, 2, 29), 951_782_400),
            (date(2000, 3, 1), 951_868_800),
            (date(2026, 1, 1), 1_767_225_600),
            (date(2100, 3, 1), 4_107_542_400),
            (time, 1_935_817_689),
            (Date { offset_minutes: -120, ..time }, 1_935_817_689 - 7200),
            (Date { offset_minutes: 60, ..date(1970, 1, 1) }, 3600),
        ] {
            assert_eq!(date.seconds(), Some(seconds), "{date:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for date in [
            date(1969, 12, 31),
            date(2026, 0, 1),
            date(2026, 13, 1),
            date(2026, 1, 0),
            date(2026, 4, 31),
            date(2026, 2, 29),
            date(2100, 2, 29),
            Date { hour: 24, ..date(2026, 1, 1) },
            Date { minute: 60, ..date(2026, 1, 1) },
            Date { second: 60, ..date(2026, 1, 1) },
            Date { offset_minutes: -1, ..date(1970, 1, 1) },
            Date { offset_minutes: i16::MIN, ..date(2026, 1, 1) },
        ] {
            assert_eq!(date.seconds(), None, "{date:?}");
        }
    }
}

//! Numbers of bytes as people write them, in powers of 1024: `4M`; what is shown may have a tenth: `1.5M`.

use alloc::format;
use alloc::string::String;

const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

/// A whole number of bytes, KiB (`K`), MiB (`M`), GiB (`G`) or TiB (`T`).
pub fn parse(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, unit) if !unit.is_ascii_digit() => {
            let place = UNITS.iter().position(|known| *known == unit.to_ascii_uppercase())?;
            (&text[..at], 10 * (place as u32 + 1))
        }
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// In the largest unit of which it has one at least, rounded to a tenth.
pub fn show(bytes: u64) -> String {
    let place = (1..=UNITS.len()).rev().find(|place| bytes >> (10 * place) != 0);
    let Some(place) = place else { return format!("{bytes}") };
    let unit = 1u128 << (10 * place);
    let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
    match tenths % 10 {
        0 => format!("{}{}", tenths / 10, UNITS[place - 1]),
        tenth => format!("{}.{tenth}{}", tenths / 10, UNITS[place - 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("1k", 1024), ("4M", 4 << 20), ("16777215T", 16_777_215 << 40)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "+1", "1.5M", "1MB", "1 M", "16777216T", "18446744073709551616", "\u{661}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn shown_with_a_tenth_at_most() {
        for (bytes, text) in
            [(0, "0"), (1023, "1023"), (1024, "1K"), (1536, "1.5K"), (4 << 20, "4M"), (u64::MAX, "16777216T")]
        {
            assert_eq!(show(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_harms(text in ".{0,30}") {
            parse(&text);
        }

        #[test]
        fn whole_units_come_back(count in 1u64..1024, place in 0usize..4) {
            let bytes = count << (10 * (place + 1));
            prop_assert_eq!(parse(&show(bytes)), Some(bytes));
        }
    }
}

//! Files that declare something, strictly: one `key = value` a line, no key unknown or twice (docs/formats/service.md, health.md). Text in,
//! what each value means or a mistake that names line and key out.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// Longest file, and most words of a list.
pub const FILE_MAX: usize = 8 << 10;
const WORDS_MAX: usize = 32;
const DURATION_MAX_MS: u64 = 3_600_000;

/// Why a file does not declare anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1; 0 when the mistake is something that is missing.
    pub line: usize,
    /// The key it is about; empty when there is none.
    pub key: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.why)
    }
}

impl Mistake {
    /// One of the file as a whole.
    pub fn of_file(key: &str, why: impl Into<String>) -> Self {
        Self { line: 0, key: key.into(), why: why.into() }
    }
}

/// Hands each key with its value to `set`, whose complaint becomes a mistake.
pub fn read(text: &str, mut set: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), Mistake> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |key: &str, why: String| Mistake { line: index + 1, key: key.into(), why };
        let Some((key, value)) = line.split_once('=') else {
            return Err(wrong("", "expected 'key = value'".into()));
        };
        let (key, value) = (key.trim_end(), value.trim_start());
        if seen.contains(&key) {
            return Err(wrong(key, "stands there twice".into()));
        }
        if value.is_empty() {
            return Err(wrong(key, "has no value".into()));
        }
        if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(wrong(key, "holds a control character".into()));
        }
        set(key, value).map_err(|why| wrong(key, why))?;
        seen.push(key);
    }
    Ok(())
}

/// Words separated by blanks.
pub fn words(value: &str) -> Result<Vec<String>, String> {
    let found: Vec<String> = value.split_ascii_whitespace().map(String::from).collect();
    if found.len() > WORDS_MAX {
        return Err(format!("has {} words; at most {WORDS_MAX}", found.len()));
    }
    Ok(found)
}

/// One of some words.
pub fn choice<T: Copy>(value: &str, allowed: &[(&str, T)]) -> Result<T, String> {
    allowed.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
        format!("is '{value}'; allowed: {}", words.join(", "))
    })
}

/// `yes` or `no`.
pub fn yes_or_no(value: &str) -> Result<bool, String> {
    choice(value, &[("yes", true), ("no", false)])
}

/// A decimal number.
pub fn number(value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(|| format!("is '{value}'; expected a decimal number"))
}

/// `250ms` or `5s`, at most an hour.
pub fn duration(value: &str) -> Result<u64, String> {
    let (digits, unit) =
        value.strip_suffix("ms").map_or_else(|| (value.strip_suffix('s').unwrap_or(""), 1000), |digits| (digits, 1));
    number(digits)
        .ok()
        .map(|n| u64::from(n) * unit)
        .filter(|&ms| ms <= DURATION_MAX_MS)
        .ok_or_else(|| format!("is '{value}'; expected a time such as 250ms or 5s, at most 3600s"))
}

/// The absolute path of a program, whose arguments stand elsewhere.
pub fn program(value: &str) -> Result<String, String> {
    absolute(value).ok_or_else(|| format!("is '{value}'; expected one absolute path, the arguments stand in args"))
}

/// An absolute path.
pub fn path(value: &str) -> Result<String, String> {
    absolute(value).ok_or_else(|| format!("is '{value}'; expected one absolute path"))
}

fn absolute(value: &str) -> Option<String> {
    (value.starts_with('/') && !value.contains([' ', '\t'])).then(|| value.to_string())
}

/// A name such as `console`: of services, checks, pipes and users.
pub fn name(value: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if value.is_empty() || value.len() > 32 || !value.bytes().all(fits) {
        return Err(format!("is '{value}'; expected a name of a-z, 0-9, - and _, at most 32 long"));
    }
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_line_is_given_once_or_the_first_mistake_named(
            text in "([a-z_]{0,8} ?=? ?[ -~\u{0}-\u{9}]{0,20}\n){0,6}"
        ) {
            let mut given = Vec::new();
            let result = read(&text, |key, value| {
                given.push(key.to_string());
                if value.starts_with('x') { Err("no".into()) } else { Ok(()) }
            });
            let mut distinct = given.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), given.len());
            if let Err(mistake) = result {
                prop_assert!((1..=text.lines().count()).contains(&mistake.line) && !mistake.why.is_empty());
            }
        }

        #[test]
        fn no_value_harms(value in "[ -~]{0,40}") {
            let _ = (words(&value), number(&value), path(&value), program(&value), name(&value));
            if let Ok(ms) = duration(&value) {
                prop_assert!(ms <= DURATION_MAX_MS);
            }
        }
    }
}

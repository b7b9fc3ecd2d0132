//! As much of JSON (RFC 8259) as status and record need: written here, and read with a bound on depth. Numbers are whole and not negative.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 4;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, its keys in their order.
    Map(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }
}

/// An object of these keys.
#[must_use]
pub fn map<const N: usize>(keys: [(&str, Value); N]) -> Value {
    Value::Map(keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}

impl Value {
    /// What an object has under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(keys) => keys.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A string under a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number under a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// An array under a key; empty when there is none.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Value] {
        match self.get(key) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// Writes it on one line.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Text(text) => quote(out, text),
            Self::List(list) => {
                out.push('[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Map(keys) => {
                out.push('{');
                for (index, (key, value)) in keys.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    quote(out, key);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads one value that is the whole text; `None` for anything else.
#[must_use]
pub fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.blanks();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes these characters behind blanks.
    fn take(&mut self, wanted: &str) -> Option<()> {
        self.blanks();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.blanks();
        match self.rest.chars().next()? {
            '{' | '[' if depth == DEPTH_MAX => None,
            '{' => {
                let mut keys = Vec::new();
                self.items('{', "}", |reader| {
                    reader.blanks();
                    let key = reader.string()?;
                    reader.take(":")?;
                    keys.push((key, reader.value(depth + 1)?));
                    Some(())
                })?;
                Some(Value::Map(keys))
            }
            '[' => {
                let mut list = Vec::new();
                self.items('[', "]", |reader| {
                    list.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Some(Value::List(list))
            }
            '"' => self.string().map(Value::Text),
            '0'..='9' => self.number(),
            _ if self.take("null").is_some() => Some(Value::Null),
            _ if self.take("true").is_some() => Some(Value::Bool(true)),
            _ => self.take("false").map(|()| Value::Bool(false)),
        }
    }

    fn items(&mut self, first: char, end: &str, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.rest = self.rest.strip_prefix(first)?;
        if self.take(end).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.take(end).is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn number(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if (digits.len() > 1 && digits.starts_with('0')) || rest.starts_with(['.', 'e', 'E']) {
            return None;
        }
        self.rest = rest;
        digits.parse().ok().map(Value::Number)
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix('"')?.chars();
        loop {
            let c = match chars.next()? {
                '"' => break,
                c if c < ' ' => return None,
                '\\' => match chars.next()? {
                    c @ ('"' | '\\' | '/') => c,
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let digits = chars.as_str().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                        chars = chars.as_str()[4..].chars();
                        // halves of a pair are no characters: nobody here writes any
                        char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                    }
                    _ => return None,
                },
                c => c,
            };
            text.push(c);
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_as_they_stand() {
        let text = " {\"a\" : [1, null,true , false], \"b\":{\"c\":\"x\\u00e9\\n\\\"\"}} ";
        let value = read(text).unwrap();
        assert_eq!(value.list("a"), [Value::Number(1), Value::Null, Value::Bool(true), Value::Bool(false)]);
        assert_eq!(value.get("b").unwrap().text("c"), Some("x\u{e9}\n\""));
        for wrong in [
            "",
            "{",
            "[1,]",
            "01",
            "1.5",
            "-1",
            "\"\\ud800\"",
            "\"\\q\"",
            "{\"a\":1}x",
            "[[[[[1]]]]]",
            "\"a\nb\"",
            "18446744073709551616",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "\\PC{0,20}|[ -~\u{0}-\u{1f}]{0,20}", number: u64) {
            let value = map([("k", Value::from(&*text)), ("l", Value::List([Value::Number(number)].to_vec()))]);
            let mut out = String::new();
            value.write(&mut out);
            prop_assert!(!out.contains('\n'));
            prop_assert_eq!(read(&out), Some(value));
        }

        #[test]
        fn no_text_harms(text in "[\\[\\]{}:,\"\\\\0-9a-z ]{0,60}") {
            let _ = read(&text);
        }
    }
}

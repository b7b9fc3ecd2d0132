//! What stands on a terminal's last line, as the bytes that put it there, so that a message can come between and the line be
//! shown again behind it: a prompt, what was typed, half a line of a program's output.

/// Bytes of a line that are kept; a longer one is not shown again.
const LINE_MAX: usize = 1024;

/// Where in a control sequence (ECMA-48, 5.4) the output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind an `ESC`, which stands at `start`.
    Escape { start: usize },
    /// Behind `ESC [`. The sequence began at `start`, `parameter` is the last digit that came.
    Sequence { start: usize, parameter: u8 },
}

/// The last line of one terminal.
#[derive(Clone, Debug)]
pub struct Shown {
    bytes: [u8; LINE_MAX],
    length: usize,
    /// It was longer than what is kept.
    too_long: bool,
    state: State,
}

impl Default for Shown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shown {
    /// The cursor stands at the beginning of an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; LINE_MAX], length: 0, too_long: false, state: State::Text }
    }

    /// Nothing stands on the line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0 && !self.too_long
    }

    /// What shows the line again from the beginning of an empty one; nothing when that is not known.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.too_long { &[] } else { &self.bytes[..self.length] }
    }

    /// The cursor has gone to an empty line.
    pub const fn clear(&mut self) {
        (self.length, self.too_long, self.state) = (0, false, State::Text);
    }

    /// The terminal got this byte.
    pub fn put(&mut self, byte: u8) {
        // A carriage return is kept, since an editor of long lines goes up from there; a line too long begins anew with it.
        if byte == b'\n' || byte == b'\r' && self.too_long {
            return self.clear();
        }
        // Most output is on an empty line, and carriage returns come before its end.
        if byte == b'\r' && self.is_empty() || byte == 7 {
            return;
        }
        if byte == 0x1b {
            self.cancel_sequence();
        }
        let start = self.length;
        match self.bytes.get_mut(self.length) {
            Some(place) => (*place, self.length) = (byte, self.length + 1),
            None => self.too_long = true,
        }
        self.state = match (self.state, byte) {
            (_, 0x1b) => State::Escape { start },
            (State::Escape { start }, b'[') => State::Sequence { start, parameter: 0 },
            (State::Sequence { start, .. }, b'0'..=b'?') => State::Sequence { start, parameter: byte },
            (State::Sequence { start, .. }, b' '..=b'/') => State::Sequence { start, parameter: 0 },
            (State::Sequence { start, parameter }, _) => return self.end_sequence(start, parameter, byte),
            _ => State::Text,
        };
    }

    /// An `ESC` cancels the sequence that it comes in. What is left of that must go: once the new sequence is taken away (it may be
    /// a question), what comes behind would end the old one.
    const fn cancel_sequence(&mut self) {
        if let State::Escape { start } | State::Sequence { start, .. } = self.state
            && !self.too_long
        {
            self.length = start;
        }
    }

    fn end_sequence(&mut self, start: usize, parameter: u8, last: u8) {
        self.state = State::Text;
        match last {
            // The cursor goes to a place of the screen, or the screen is emptied: whatever stood here is not this line any more.
            b'H' | b'f' | b'd' => self.clear(),
            b'J' if matches!(parameter, b'2' | b'3') => self.clear(),
            // A question is not asked twice: its answer would be typed twice.
            b'c' | b'n' if !self.too_long => self.length = start,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn after(text: &str) -> Shown {
        let mut shown = Shown::new();
        text.bytes().for_each(|byte| shown.put(byte));
        shown
    }

    #[test]
    fn the_last_line_is_shown_again() {
        for (output, again) in [
            ("", ""),
            ("whole\r\n", ""),
            ("\r", ""),
            ("before\r\nswift-os login: ", "swift-os login: "),
            ("# ech\x08 \x08\x08 \x08hoes", "# ech\x08 \x08\x08 \x08hoes"),
            ("\x1b[1;32m# \x1b[0mls\x1b[J", "\x1b[1;32m# \x1b[0mls\x1b[J"),
            ("# long\r\x1b[1A\x1b[7C", "# long\r\x1b[1A\x1b[7C"),
            ("# \x1b[", "# \x1b["),
            // Questions, bells.
            ("# \x1b[6nls", "# ls"),
            ("# \x1b[>0cl\x07s", "# ls"),
            // Sequences that another one cancels.
            ("# \x1b\x1b[6n[6n", "# [6n"),
            ("# \x1b[1\x1b[6nn", "# n"),
            ("# \x1b[1\x1b[0mls", "# \x1b[0mls"),
            // Another place of the screen.
            ("~\x1b[24;1H\x1b[K# ", "\x1b[K# "),
            ("old\x1b[H\x1b[J# ", "\x1b[J# "),
            ("old\x1b[2J# ", "# "),
        ] {
            let shown = after(output);
            assert_eq!(shown.bytes(), again.as_bytes(), "{output:?}");
            assert_eq!(shown.is_empty(), again.is_empty(), "{output:?}");
        }
    }

    #[test]
    fn a_line_too_long_is_not_shown_again_and_is_over_at_its_end() {
        let long: String = core::iter::repeat_n('x', LINE_MAX + 1).collect();
        let mut shown = after(&long[..LINE_MAX]);
        assert_eq!(shown.bytes().len(), LINE_MAX);
        shown.put(b'x');
        assert!(shown.bytes().is_empty() && !shown.is_empty());
        assert_eq!(after(&(long.clone() + "\n# ")).bytes(), b"# ");
        assert_eq!(after(&(long.clone() + "\r50 %")).bytes(), b"50 %");
        assert!(after(&(long + "\x1b[6n")).bytes().is_empty());
    }

    proptest! {
        /// Shown again, a line leaves the terminal as it was: the same is shown the next time.
        #[test]
        fn showing_again_changes_nothing(text in prop::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'n'), any::<u8>()], 0..2000)) {
            let mut shown = Shown::new();
            text.iter().for_each(|&byte| shown.put(byte));
            let again: Vec<u8> = shown.bytes().into();
            let mut second = Shown::new();
            again.iter().for_each(|&byte| second.put(byte));
            prop_assert_eq!(second.bytes(), again);
        }
    }
}

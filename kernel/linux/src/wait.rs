//! Wait status words, as `wait4` writes them.

use crate::signal::Signal;

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It called `exit` with this code.
    Exited(u8),
    /// A signal ended it.
    Killed(Signal),
    /// A signal stopped it.
    Stopped(Signal),
    /// `SIGCONT` resumed it.
    Continued,
}

impl Status {
    /// The status word.
    #[must_use]
    pub const fn word(self) -> i32 {
        match self {
            Self::Exited(code) => (code as i32) << 8,
            Self::Killed(signal) => signal.number() as i32,
            Self::Stopped(signal) => (signal.number() as i32) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_c_macros() {
        assert_eq!(Status::Exited(3).word(), 0x300);
        assert_eq!(Status::Killed(Signal::KILL).word(), 9);
        assert_eq!(Status::Stopped(Signal::TSTP).word(), 20 << 8 | 0x7f);
        assert_eq!(Status::Continued.word(), 0xffff);
    }
}

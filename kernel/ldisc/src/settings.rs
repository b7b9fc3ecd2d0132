//! Terminal settings: the fields of `struct termios`, with the constants of arm64 Linux (include/uapi/asm-generic/termbits.h).

/// Flag bits.
#[allow(missing_docs)]
pub mod flags {
    pub const IGNBRK: u32 = 1;
    pub const BRKINT: u32 = 2;
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IUCLC: u32 = 0o1000;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IMAXBEL: u32 = 0o20000;
    pub const IUTF8: u32 = 0o40000;

    pub const OPOST: u32 = 1;
    pub const OLCUC: u32 = 2;
    pub const ONLCR: u32 = 4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
    pub const TABDLY: u32 = 0o14000;
    pub const XTABS: u32 = 0o14000;

    pub const B38400: u32 = 0o17;
    pub const B115200: u32 = 0o10002;
    pub const CS8: u32 = 0o60;
    pub const CREAD: u32 = 0o200;
    pub const HUPCL: u32 = 0o2000;
    pub const CLOCAL: u32 = 0o4000;

    pub const ISIG: u32 = 1;
    pub const ICANON: u32 = 2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100_000;
}

/// Indexes of the control characters.
#[allow(missing_docs)]
pub mod cc {
    pub const VINTR: usize = 0;
    pub const VQUIT: usize = 1;
    pub const VERASE: usize = 2;
    pub const VKILL: usize = 3;
    pub const VEOF: usize = 4;
    pub const VTIME: usize = 5;
    pub const VMIN: usize = 6;
    pub const VSTART: usize = 8;
    pub const VSTOP: usize = 9;
    pub const VSUSP: usize = 10;
    pub const VEOL: usize = 11;
    pub const VREPRINT: usize = 12;
    pub const VDISCARD: usize = 13;
    pub const VWERASE: usize = 14;
    pub const VLNEXT: usize = 15;
    pub const VEOL2: usize = 16;
}

/// A control character that is switched off.
pub const DISABLED: u8 = 0;

/// How a terminal behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Input modes.
    pub input: u32,
    /// Output modes.
    pub output: u32,
    /// Control modes; kept for programs that ask, without effect.
    pub control: u32,
    /// Local modes.
    pub local: u32,
    /// Line discipline number; kept.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; 19],
}

impl Default for Settings {
    /// Those of a fresh Linux terminal (`tty_std_termios`).
    fn default() -> Self {
        use flags::*;
        let mut characters = [DISABLED; 19];
        for (index, value) in [
            (cc::VINTR, 3),
            (cc::VQUIT, 28),
            (cc::VERASE, 127),
            (cc::VKILL, 21),
            (cc::VEOF, 4),
            (cc::VMIN, 1),
            (cc::VSTART, 17),
            (cc::VSTOP, 19),
            (cc::VSUSP, 26),
            (cc::VREPRINT, 18),
            (cc::VDISCARD, 15),
            (cc::VWERASE, 23),
            (cc::VLNEXT, 22),
        ] {
            characters[index] = value;
        }
        Self {
            input: ICRNL | IXON | IUTF8,
            output: OPOST | ONLCR,
            control: B115200 | CS8 | CREAD | HUPCL | CLOCAL,
            local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            cc: characters,
        }
    }
}

impl Settings {
    /// Whether all of these local modes are on.
    #[must_use]
    pub const fn local(&self, bits: u32) -> bool {
        self.local & bits == bits
    }

    /// Whether all of these input modes are on.
    #[must_use]
    pub const fn input(&self, bits: u32) -> bool {
        self.input & bits == bits
    }

    /// Whether all of these output modes are on.
    #[must_use]
    pub const fn output(&self, bits: u32) -> bool {
        self.output & bits == bits
    }

    /// Whether `byte` is the control character `index`, and that one is on.
    #[must_use]
    pub const fn is(&self, byte: u8, index: usize) -> bool {
        self.cc[index] == byte && byte != DISABLED
    }
}

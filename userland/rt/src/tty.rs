//! A terminal's modes by TCGETS and TCSETSW. rustix asks by TCGETS2, which neither swift-os nor qemu's user mode has.

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Getter, Setter, ioctl};
use rustix::termios::{InputModes, LocalModes, OutputModes};

/// ioctl numbers and layout: Linux, include/uapi/asm-generic/{ioctls,termbits}.h.
const TCGETS: u32 = 0x5401;
const TCSETSW: u32 = 0x5403;

/// The kernel's `struct termios`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Modes {
    /// What happens to what is typed.
    pub input: u32,
    /// What happens to what is written.
    pub output: u32,
    control: u32,
    /// Lines, echo, signals.
    pub local: u32,
    discipline: u8,
    characters: [u8; 19],
}

const _: () = assert!(size_of::<Modes>() == 36);

impl Modes {
    /// The present ones; ENOTTY where there is no terminal.
    pub fn of(terminal: impl AsFd) -> Result<Self> {
        // SAFETY: TCGETS fills exactly this structure.
        unsafe { ioctl(terminal, Getter::<TCGETS, Self>::new()) }
    }

    /// Sets them when what was written is out.
    pub fn set(self, terminal: impl AsFd) -> Result<()> {
        // SAFETY: TCSETSW reads exactly this structure.
        unsafe { ioctl(terminal, Setter::<TCSETSW, Self>::new(self)) }
    }

    /// The same with echoed lines and signals by keys, whatever was set before.
    pub fn sane(self) -> Self {
        let local = LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN
            | LocalModes::ECHO
            | LocalModes::ECHOE
            | LocalModes::ECHOK
            | LocalModes::ECHOCTL
            | LocalModes::ECHOKE;
        Self {
            input: (InputModes::ICRNL | InputModes::IXON).bits(),
            output: (OutputModes::OPOST | OutputModes::ONLCR).bits(),
            local: local.bits(),
            ..self
        }
    }

    /// The same without signals by keys, and with or without echo.
    pub fn quiet(self, echo: bool) -> Self {
        let hidden = if echo { LocalModes::empty() } else { LocalModes::ECHO };
        Self { local: self.local & !(LocalModes::ISIG | hidden).bits(), ..self }
    }

    /// The same for single keys: no lines, no echo, no signals.
    pub fn keys(self) -> Self {
        Self { local: self.local & !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG).bits(), ..self }
    }
}

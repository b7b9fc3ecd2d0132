//! N_TTY, the line discipline of a terminal, as a machine of bytes: what the line receives goes in, echo comes out, readers take
//! lines or characters. [`Shown`] knows what stands on the last line, for who must write between. No clock, no lock, no device; the caller sleeps, wakes and sends the signals it is told to send.
//!
//! Linux (drivers/tty/n_tty.c) is the model; termios(3) and POSIX.1-2017 chapter 11 describe the behaviour.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod input;
mod output;
mod settings;
mod shown;
#[cfg(test)]
mod tests;

pub use input::{Discipline, Read, Received, TerminalSignal};
pub use settings::{Settings, cc, flags};
pub use shown::Shown;

/// Bytes that wait to be read, at most.
pub const INPUT_MAX: usize = 4096;

//! Input: from the line to the readers.
//!
//! Invariants: `tail <= ready <= head <= tail + INPUT_MAX`, counted without wrapping; a byte at index i lies at `i % INPUT_MAX`.
//! In canonical mode readers see what is below `ready`, the end of the last whole line; the line being edited is `ready..head`.
//! An end-of-file character stands in the buffer as a marked zero.

use crate::INPUT_MAX;
use crate::output::Column;
use crate::settings::{DISABLED, Settings, cc, flags};

/// A signal that a key asks for; it goes to the foreground process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalSignal {
    /// `SIGINT`
    Interrupt,
    /// `SIGQUIT`
    Quit,
    /// `SIGTSTP`
    Suspend,
}

/// What a received byte led to, besides echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To be sent.
    pub signal: Option<TerminalSignal>,
    /// Readers have something new.
    pub readable: bool,
    /// Output was stopped and goes on.
    pub resumed: bool,
}

/// What a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes; zero is the end of the file.
    Bytes(usize),
    /// Nothing yet.
    Wait,
}

/// The state of one terminal.
#[derive(Clone, Debug)]
pub struct Discipline {
    settings: Settings,
    buffer: [u8; INPUT_MAX],
    marks: [u64; INPUT_MAX / 64],
    tail: usize,
    ready: usize,
    head: usize,
    literal_next: bool,
    stopped: bool,
    column: Column,
    /// Column at which the line being edited begins.
    line_column: usize,
}

impl Default for Discipline {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Discipline {
    /// An empty terminal.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            buffer: [0; INPUT_MAX],
            marks: [0; INPUT_MAX / 64],
            tail: 0,
            ready: 0,
            head: 0,
            literal_next: false,
            stopped: false,
            column: Column(0),
            line_column: 0,
        }
    }

    /// How it behaves.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes how it behaves. Leaving canonical mode makes the unfinished line readable; entering it makes all that waits one line.
    /// True when readers may have something new.
    pub fn set(&mut self, settings: Settings) -> bool {
        let changed = (settings.local ^ self.settings.local) & flags::ICANON != 0;
        self.settings = settings;
        if !settings.input(flags::IXON) {
            self.stopped = false;
        }
        if changed {
            self.marks = [0; INPUT_MAX / 64];
            self.literal_next = false;
            if settings.local(flags::ICANON) && self.head != self.tail {
                self.mark(self.head - 1);
            }
            self.ready = self.head;
        }
        changed && self.head != self.tail
    }

    /// Whether output is stopped by the STOP character.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Starts or stops output, as `tcflow` asks.
    pub const fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Throws away what was received and not read.
    pub fn flush(&mut self) {
        (self.tail, self.ready) = (self.head, self.head);
        self.marks = [0; INPUT_MAX / 64];
    }

    /// Processes what a program writes.
    pub fn write(&mut self, bytes: &[u8], line: &mut impl FnMut(u8)) {
        for &byte in bytes {
            self.column.post(&self.settings, byte, line);
        }
        if self.ready == self.head {
            self.line_column = self.column.0;
        }
    }

    /// Takes one byte from the line; `line` gets the echo.
    pub fn receive(&mut self, byte: u8, line: &mut impl FnMut(u8)) -> Received {
        let settings = self.settings;
        let mut byte = if settings.input(flags::ISTRIP) { byte & 0x7f } else { byte };
        if settings.input(flags::IUCLC) && settings.local(flags::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if core::mem::take(&mut self.literal_next) {
            return self.accept(byte, line);
        }
        let mut resumed = false;
        if settings.input(flags::IXON) {
            if settings.is(byte, cc::VSTOP) {
                self.stopped = true;
                return Received::default();
            }
            if settings.is(byte, cc::VSTART) {
                return Received { resumed: core::mem::take(&mut self.stopped), ..Received::default() };
            }
            if settings.input(flags::IXANY) {
                resumed = core::mem::take(&mut self.stopped);
            }
        }
        if let Some(signal) = self.signal_of(byte) {
            return self.interrupt(signal, byte, line);
        }
        match byte {
            b'\r' if settings.input(flags::IGNCR) => return Received { resumed, ..Received::default() },
            b'\r' if settings.input(flags::ICRNL) => byte = b'\n',
            b'\n' if settings.input(flags::INLCR) => byte = b'\r',
            _ => {}
        }
        let received = if settings.local(flags::ICANON) { self.edit(byte, line) } else { self.accept(byte, line) };
        Received { resumed, ..received }
    }

    fn signal_of(&self, byte: u8) -> Option<TerminalSignal> {
        if !self.settings.local(flags::ISIG) {
            return None;
        }
        [
            (cc::VINTR, TerminalSignal::Interrupt),
            (cc::VQUIT, TerminalSignal::Quit),
            (cc::VSUSP, TerminalSignal::Suspend),
        ]
        .into_iter()
        .find_map(|(index, signal)| self.settings.is(byte, index).then_some(signal))
    }

    fn interrupt(&mut self, signal: TerminalSignal, byte: u8, line: &mut impl FnMut(u8)) -> Received {
        if !self.settings.local(flags::NOFLSH) {
            self.flush();
        }
        let resumed = core::mem::take(&mut self.stopped);
        if self.settings.local(flags::ECHO) {
            self.echo(byte, line);
        }
        Received { signal: Some(signal), readable: false, resumed }
    }

    /// A byte in canonical mode: editing, end of line, end of file, or text.
    fn edit(&mut self, byte: u8, line: &mut impl FnMut(u8)) -> Received {
        let settings = self.settings;
        let extended = settings.local(flags::IEXTEN);
        if settings.is(byte, cc::VERASE) {
            self.erase_character(line);
        } else if extended && settings.is(byte, cc::VWERASE) {
            self.erase_word(line);
        } else if settings.is(byte, cc::VKILL) {
            self.kill_line(byte, line);
        } else if extended && settings.is(byte, cc::VLNEXT) {
            self.literal_next = true;
            if settings.local(flags::ECHO | flags::ECHOCTL) {
                [b'^', 8].into_iter().for_each(|byte| self.column.post(&settings, byte, line));
            }
        } else if extended && settings.local(flags::ECHO) && settings.is(byte, cc::VREPRINT) {
            self.reprint(byte, line);
        } else if byte == b'\n' {
            if settings.local(flags::ECHO) || settings.local(flags::ECHONL) {
                self.column.post(&settings, byte, line);
            }
            return self.finish(byte);
        } else if settings.is(byte, cc::VEOF) {
            return self.finish(DISABLED);
        } else if settings.is(byte, cc::VEOL) || extended && settings.is(byte, cc::VEOL2) {
            if settings.local(flags::ECHO) {
                self.echo(byte, line);
            }
            return self.finish(byte);
        } else {
            return self.accept(byte, line);
        }
        Received::default()
    }

    /// Ends the line being edited with `last`. One place is always kept free for it, and one for the end of file behind it.
    fn finish(&mut self, last: u8) -> Received {
        if self.head - self.tail >= INPUT_MAX {
            return Received::default();
        }
        self.mark(self.head);
        self.store(last);
        self.ready = self.head;
        self.line_column = self.column.0;
        Received { readable: true, ..Received::default() }
    }

    /// Text, in either mode.
    fn accept(&mut self, byte: u8, line: &mut impl FnMut(u8)) -> Received {
        let canonical = self.settings.local(flags::ICANON);
        let room = INPUT_MAX - (self.head - self.tail);
        if room <= usize::from(canonical) {
            if self.settings.input(flags::IMAXBEL) {
                line(7);
            }
            return Received::default();
        }
        if self.settings.local(flags::ECHO) {
            if self.ready == self.head {
                self.line_column = self.column.0;
            }
            if byte == b'\n' { self.column.post(&self.settings, byte, line) } else { self.echo(byte, line) }
        }
        self.store(byte);
        if canonical {
            return Received::default();
        }
        self.ready = self.head;
        Received { readable: true, ..Received::default() }
    }

    fn store(&mut self, byte: u8) {
        self.buffer[self.head % INPUT_MAX] = byte;
        self.head += 1;
    }

    fn echo(&mut self, byte: u8, line: &mut impl FnMut(u8)) {
        if self.settings.local(flags::ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            for byte in [b'^', byte ^ 0x40] {
                self.column.post(&self.settings, byte, line);
            }
        } else {
            self.column.post(&self.settings, byte, line);
        }
    }

    fn at(&self, index: usize) -> u8 {
        self.buffer[index % INPUT_MAX]
    }

    fn is_continuation(&self, byte: u8) -> bool {
        self.settings.input(flags::IUTF8) && byte & 0xc0 == 0x80
    }

    /// Columns that the byte at `index` takes when echoed at `column`.
    fn width(&self, index: usize, column: usize) -> usize {
        match self.at(index) {
            b'\t' => 8 - column % 8,
            byte if byte.is_ascii_control() => 2 * usize::from(self.settings.local(flags::ECHOCTL)),
            byte => usize::from(!self.is_continuation(byte)),
        }
    }

    /// Takes the last character off the line being edited; false when there is none.
    fn erase_character(&mut self, line: &mut impl FnMut(u8)) -> bool {
        if self.head == self.ready {
            return false;
        }
        let mut start = self.head - 1;
        while start > self.ready && self.is_continuation(self.at(start)) {
            start -= 1;
        }
        if self.settings.local(flags::ECHO) {
            if self.settings.local(flags::ECHOE) {
                let before = (self.ready..start).fold(self.line_column, |column, i| column + self.width(i, column));
                for _ in 0..self.width(start, before) {
                    // A tab is gone back over; anything else is wiped.
                    let wipe: &[u8] = if self.at(start) == b'\t' { &[8] } else { &[8, b' ', 8] };
                    wipe.iter().for_each(|&byte| self.column.post(&self.settings, byte, line));
                }
            } else {
                self.echo(self.settings.cc[cc::VERASE], line);
            }
        }
        self.head = start;
        true
    }

    fn erase_word(&mut self, line: &mut impl FnMut(u8)) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut seen = false;
        while self.head > self.ready {
            let word = is_word(self.at(self.head - 1));
            if seen && !word {
                break;
            }
            seen |= word;
            self.erase_character(line);
        }
    }

    fn kill_line(&mut self, byte: u8, line: &mut impl FnMut(u8)) {
        let visible = flags::ECHOK | flags::ECHOKE | flags::ECHOE;
        if self.settings.local(flags::ECHO) && !self.settings.local(visible) {
            self.head = self.ready;
            self.echo(byte, line);
            if self.settings.local(flags::ECHOK) {
                self.column.post(&self.settings, b'\n', line);
            }
            return;
        }
        while self.erase_character(line) {}
    }

    fn reprint(&mut self, byte: u8, line: &mut impl FnMut(u8)) {
        self.echo(byte, line);
        self.column.post(&self.settings, b'\n', line);
        self.line_column = self.column.0;
        for index in self.ready..self.head {
            self.echo(self.at(index), line);
        }
    }

    fn mark(&mut self, index: usize) {
        let slot = index % INPUT_MAX;
        self.marks[slot / 64] |= 1 << (slot % 64);
    }

    fn take_mark(&mut self, index: usize) -> bool {
        let slot = index % INPUT_MAX;
        let marked = self.marks[slot / 64] & 1 << (slot % 64) != 0;
        self.marks[slot / 64] &= !(1 << (slot % 64));
        marked
    }

    /// Bytes that `FIONREAD` counts.
    #[must_use]
    pub fn available(&self) -> usize {
        let ends = (self.tail..self.ready).filter(|&index| {
            let slot = index % INPUT_MAX;
            self.at(index) == DISABLED && self.marks[slot / 64] & 1 << (slot % 64) != 0
        });
        self.ready - self.tail - ends.count()
    }

    /// Whether a read would get something.
    #[must_use]
    pub const fn has_input(&self) -> bool {
        self.ready != self.tail
    }

    /// Whether `poll` reports input: a line in canonical mode, else at least MIN bytes (TIME being 0), else any.
    #[must_use]
    pub const fn readable(&self) -> bool {
        let (min, time) = (self.settings.cc[cc::VMIN] as usize, self.settings.cc[cc::VTIME]);
        let wanted = if self.settings.local(flags::ICANON) || time != 0 || min == 0 { 1 } else { min };
        self.ready - self.tail >= wanted
    }

    /// Takes what a reader may have now: at most one line in canonical mode, else whatever has come.
    pub fn read(&mut self, into: &mut [u8]) -> Read {
        if self.tail == self.ready {
            return Read::Wait;
        }
        if self.settings.local(flags::ICANON) { self.read_line(into) } else { Read::Bytes(self.read_raw(into)) }
    }

    fn read_raw(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.ready - self.tail);
        for slot in &mut into[..count] {
            *slot = self.buffer[self.tail % INPUT_MAX];
            self.tail += 1;
        }
        count
    }

    fn read_line(&mut self, into: &mut [u8]) -> Read {
        let mut count = 0;
        while self.tail < self.ready {
            let byte = self.at(self.tail);
            let slot = self.tail % INPUT_MAX;
            let end_of_file = byte == DISABLED && self.marks[slot / 64] & 1 << (slot % 64) != 0;
            // An end of file right behind the last byte that fits belongs to this read.
            if count == into.len() && !end_of_file {
                break;
            }
            let end = self.take_mark(self.tail);
            self.tail += 1;
            if end_of_file {
                break;
            }
            into[count] = byte;
            count += 1;
            if end {
                break;
            }
        }
        Read::Bytes(count)
    }
}

//! Output processing: what programs write, and echo, on their way to the line.

use crate::settings::{Settings, flags};

const TAB: usize = 8;

/// Where the cursor stands, as far as tabs and erasing need to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Column(pub usize);

impl Column {
    /// Sends one byte through OPOST.
    pub fn post(&mut self, settings: &Settings, byte: u8, line: &mut impl FnMut(u8)) {
        if !settings.output(flags::OPOST) {
            self.track(byte);
            line(byte);
            return;
        }
        match byte {
            b'\n' => {
                if settings.output(flags::ONLCR) {
                    line(b'\r');
                }
                if settings.output(flags::ONLCR) || settings.output(flags::ONLRET) {
                    self.0 = 0;
                }
                line(b'\n');
            }
            b'\r' if settings.output(flags::ONOCR) && self.0 == 0 => {}
            b'\r' if settings.output(flags::OCRNL) => self.plain(b'\n', line),
            b'\t' if settings.output & flags::TABDLY == flags::XTABS => {
                for _ in 0..TAB - self.0 % TAB {
                    self.plain(b' ', line);
                }
            }
            _ => {
                let byte = if settings.output(flags::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                self.plain(byte, line);
            }
        }
    }

    fn plain(&mut self, byte: u8, line: &mut impl FnMut(u8)) {
        self.track(byte);
        line(byte);
    }

    fn track(&mut self, byte: u8) {
        match byte {
            b'\r' => self.0 = 0,
            b'\t' => self.0 += TAB - self.0 % TAB,
            8 => self.0 = self.0.saturating_sub(1),
            // Bytes behind the first of a UTF-8 character take no column.
            0x20..=0x7e | 0xc0..=0xff => self.0 += 1,
            _ => {}
        }
    }
}

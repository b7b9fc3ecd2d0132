//! Keys in, what the screen and the reader see out.

use super::*;
use flags::*;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

struct Bench {
    tty: Discipline,
    screen: Vec<u8>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self { tty: Discipline::new(settings), screen: Vec::new() }
    }

    fn key(&mut self, byte: u8) -> Received {
        let screen = &mut self.screen;
        self.tty.receive(byte, &mut |byte| screen.push(byte))
    }

    fn keys(&mut self, keys: &str) -> &mut Self {
        for byte in keys.bytes() {
            self.key(byte);
        }
        self
    }

    fn read(&mut self, room: usize) -> Option<String> {
        let mut buffer = std::vec![0; room];
        match self.tty.read(&mut buffer) {
            Read::Wait => None,
            Read::Bytes(count) => Some(String::from_utf8(buffer[..count].to_vec()).unwrap()),
        }
    }

    fn screen(&mut self) -> String {
        String::from_utf8(core::mem::take(&mut self.screen)).unwrap()
    }
}

#[test]
fn lines_come_whole_and_one_by_one() {
    let mut bench = Bench::new(|_| {});
    bench.keys("one\rtw");
    assert!(bench.tty.readable());
    assert_eq!(bench.tty.available(), 4);
    assert_eq!(bench.read(100).unwrap(), "one\n");
    assert_eq!(bench.read(100), None, "an unfinished line is not readable");
    bench.keys("o\rthree\r");
    assert_eq!(bench.read(2).unwrap(), "tw");
    assert_eq!(bench.read(100).unwrap(), "o\n");
    assert_eq!(bench.read(100).unwrap(), "three\n");
    assert_eq!(bench.screen(), "one\r\ntwo\r\nthree\r\n");
}

#[test]
fn erasing_characters_words_and_lines() {
    let mut bench = Bench::new(|_| {});
    bench.keys("ab\x7fc\r");
    assert_eq!(bench.screen(), "ab\x08 \x08c\r\n");
    assert_eq!(bench.read(9).unwrap(), "ac\n");
    bench.keys("\x7f\x7fone two  \x17x\r");
    assert_eq!(bench.read(99).unwrap(), "one x\n");
    bench.keys("gone\x15kept\r");
    assert_eq!(bench.read(99).unwrap(), "kept\n");
    bench.screen();
    bench.keys("\x01\x7f");
    assert_eq!(bench.screen(), "^A\x08 \x08\x08 \x08", "a control character took two columns");
    bench.keys("\u{e4}\x7f\r");
    assert_eq!(bench.screen(), "\u{e4}\x08 \x08\r\n", "one character of two bytes");
    assert_eq!(bench.read(9).unwrap(), "\n");
    bench.keys("a\t\x7f\r");
    assert_eq!(bench.screen(), "a\t\x08\x08\x08\x08\x08\x08\x08\r\n", "a tab goes back to where it began");
}

#[test]
fn kill_without_visible_erase_starts_a_new_line() {
    let mut bench = Bench::new(|s| s.local &= !ECHOKE);
    bench.keys("xy\x15z\r");
    assert_eq!(bench.screen(), "xy^U\r\nz\r\n");
    assert_eq!(bench.read(9).unwrap(), "z\n");
}

#[test]
fn end_of_file() {
    let mut bench = Bench::new(|_| {});
    bench.keys("\x04");
    assert!(bench.tty.readable());
    assert_eq!(bench.tty.available(), 0);
    assert_eq!(bench.read(9).unwrap(), "");
    assert_eq!(bench.read(9), None);
    bench.keys("abc\x04");
    assert_eq!(bench.read(3).unwrap(), "abc", "the end of file behind them goes with them");
    assert_eq!(bench.read(9), None);
    assert_eq!(bench.screen(), "abc", "the character itself is not echoed");
}

#[test]
fn signals_flush_and_echo() {
    let mut bench = Bench::new(|_| {});
    bench.keys("typed");
    assert_eq!(bench.key(3).signal, Some(TerminalSignal::Interrupt));
    assert_eq!(bench.screen(), "typed^C");
    bench.keys("new\r");
    assert_eq!(bench.read(9).unwrap(), "new\n");
    assert_eq!(bench.key(26).signal, Some(TerminalSignal::Suspend));
    assert_eq!(bench.key(28).signal, Some(TerminalSignal::Quit));
    let mut bench = Bench::new(|s| s.local |= NOFLSH);
    bench.keys("kept\x03\r");
    assert_eq!(bench.read(9).unwrap(), "kept\n");
    let mut bench = Bench::new(|s| s.local &= !ISIG);
    assert_eq!(bench.key(3).signal, None);
}

#[test]
fn literal_next_and_reprint() {
    let mut bench = Bench::new(|_| {});
    bench.keys("\x16\x03\r");
    assert_eq!(bench.screen(), "^\x08^C\r\n");
    assert_eq!(bench.read(9).unwrap(), "\x03\n");
    bench.keys("ab\x12");
    assert_eq!(bench.screen(), "ab^R\r\nab");
}

#[test]
fn flow_control() {
    let mut bench = Bench::new(|_| {});
    bench.key(19);
    assert!(bench.tty.stopped());
    assert!(bench.key(17).resumed);
    assert!(!bench.tty.stopped());
    bench.key(19);
    assert!(bench.key(3).resumed, "an interrupt starts output again");
    let mut bench = Bench::new(|s| s.input |= IXANY);
    bench.key(19);
    assert!(bench.key(b'x').resumed);
    let mut bench = Bench::new(|s| s.input &= !IXON);
    bench.key(19);
    assert!(!bench.tty.stopped());
}

#[test]
fn raw_mode_and_the_way_there_and_back() {
    let mut bench = Bench::new(|_| {});
    bench.keys("half");
    let mut raw = *bench.tty.settings();
    raw.local &= !(ICANON | ECHO | ISIG);
    raw.input &= !ICRNL;
    assert!(bench.tty.set(raw));
    assert_eq!(bench.read(9).unwrap(), "half");
    bench.screen();
    bench.keys("\r\x03\x7f");
    assert_eq!(bench.screen(), "");
    assert_eq!(bench.read(2).unwrap(), "\r\x03");
    raw.cc[cc::VMIN] = 3;
    bench.tty.set(raw);
    assert!(!bench.tty.readable(), "one byte where three are asked for");
    raw.cc[cc::VTIME] = 1;
    bench.tty.set(raw);
    assert!(bench.tty.readable());
    assert!(bench.tty.set(Settings::default()));
    assert_eq!(bench.read(9).unwrap(), "\x7f", "what waited becomes a line");
}

#[test]
fn echo_off_and_newline_echo() {
    let mut bench = Bench::new(|s| s.local = s.local & !ECHO | ECHONL);
    bench.keys("secret\r");
    assert_eq!(bench.screen(), "\r\n");
    assert_eq!(bench.read(99).unwrap(), "secret\n");
}

#[test]
fn a_full_buffer_keeps_room_for_the_end_of_the_line() {
    let mut bench = Bench::new(|s| s.local &= !ECHO);
    for _ in 0..INPUT_MAX + 100 {
        bench.key(b'x');
    }
    assert!(!bench.tty.readable());
    assert!(bench.key(b'\r').readable);
    assert!(!bench.key(b'\r').readable, "no room is left");
    assert_eq!(bench.read(2 * INPUT_MAX).unwrap().len(), INPUT_MAX);
}

#[test]
fn output_processing() {
    let mut bench = Bench::new(|s| s.output |= XTABS);
    let screen = &mut bench.screen;
    bench.tty.write(b"a\tb\nc", &mut |byte| screen.push(byte));
    assert_eq!(bench.screen(), "a       b\r\nc");
    let mut bench = Bench::new(|s| s.output = 0);
    let screen = &mut bench.screen;
    bench.tty.write(b"a\nb", &mut |byte| screen.push(byte));
    assert_eq!(bench.screen(), "a\nb");
    let mut bench = Bench::new(|s| s.output = OPOST | OCRNL | ONOCR);
    let screen = &mut bench.screen;
    bench.tty.write(b"\ra\r", &mut |byte| screen.push(byte));
    assert_eq!(bench.screen(), "a\n");
}

proptest! {
    /// Whatever the modes and keys are: nothing panics, readers never get more than was typed, raw mode with all translation off
    /// hands every byte over.
    #[test]
    fn any_keys(modes in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..4),
                keys in prop::collection::vec(any::<u8>(), 0..6000), room in 1usize..300) {
        let mut tty = Discipline::default();
        let (mut got, mut typed) = (0, 0);
        let mut buffer = std::vec![0; room];
        for chunk in keys.chunks(keys.len().div_ceil(modes.len()).max(1)).zip(&modes) {
            let (keys, (input, output, local)) = chunk;
            tty.set(Settings { input: *input, output: *output, local: *local, ..Settings::default() });
            for &key in keys {
                tty.receive(key, &mut |_| {});
                typed += 1;
                prop_assert!(tty.available() <= INPUT_MAX);
                if key % 16 == 0 && let Read::Bytes(count) = tty.read(&mut buffer) {
                    got += count;
                }
            }
        }
        prop_assert!(got <= typed);
    }

    #[test]
    fn raw_is_transparent(keys in prop::collection::vec(any::<u8>(), 0..4096)) {
        let mut tty = Discipline::new(Settings { input: 0, output: 0, local: 0, ..Settings::default() });
        for &key in &keys {
            tty.receive(key, &mut |_| {});
        }
        let mut buffer = std::vec![0; INPUT_MAX];
        let got = match tty.read(&mut buffer) { Read::Bytes(count) => count, Read::Wait => 0 };
        prop_assert_eq!(&buffer[..got], &keys[..]);
    }
}

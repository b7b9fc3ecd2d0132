//! The vDSO: a shared object of one page that the kernel maps into every program (arch/arm64/kernel/vdso).
//!
//! glibc installs signal handlers without SA_RESTORER and counts on `__kernel_rt_sigreturn`; unwinders know it by its two instructions. The symbols
//! have version LINUX_2.6.39. The page, in this order: ELF header, program headers, hash table, symbols, strings, versions, version
//! definitions, dynamic section, code.

use alloc::vec::Vec;

/// Bytes of it.
pub const SIZE: usize = 4096;

/// A function of the vDSO.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    /// Its symbol.
    pub name: &'a str,
    /// Its instructions.
    pub code: &'a [u32],
}

/// The page and what the kernel itself uses of it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The bytes, `SIZE` of them.
    pub bytes: Vec<u8>,
    /// Offset of each function, in the order given.
    pub offsets: Vec<u64>,
}

const SONAME: &str = "linux-vdso.so.1";
const VERSION: &str = "LINUX_2.6.39";
const NOP: u32 = 0xd503_201f;

/// `mov x8, #rt_sigreturn; svc #0`
const SIGRETURN: [u32; 2] = [0xd280_0008 | (crate::nr::RT_SIGRETURN as u32) << 5, 0xd400_0001];

/// The functions of Linux's arm64 vDSO, with the code of `clock_gettime`, `gettimeofday` and `clock_getres`. `__kernel_rt_sigreturn` comes first.
#[must_use]
pub const fn functions<'a>([gettime, timeofday, getres]: [&'a [u32]; 3]) -> [Function<'a>; 4] {
    [
        Function { name: "__kernel_rt_sigreturn", code: &SIGRETURN },
        Function { name: "__kernel_clock_gettime", code: gettime },
        Function { name: "__kernel_gettimeofday", code: timeofday },
        Function { name: "__kernel_clock_getres", code: getres },
    ]
}

/// The System V hash of a symbol's name (System V ABI, chapter 5).
fn hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn at(&self) -> u64 {
        self.0.len() as u64
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
}

/// Names, each ended by a NUL, and where each begins.
fn strings(functions: &[Function<'_>]) -> (Vec<u8>, Vec<u32>, [u32; 2]) {
    let mut bytes = alloc::vec![0];
    let mut add = |text: &str| {
        let at = bytes.len() as u32;
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        at
    };
    let names = functions.iter().map(|function| add(function.name)).collect();
    let versions = [add(SONAME), add(VERSION)];
    (bytes, names, versions)
}

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SYMBOL: usize = 24;
const DYNAMIC_ENTRIES: usize = 11;

/// Builds the page; `None` when the functions do not fit.
#[must_use]
pub fn build(functions: &[Function<'_>]) -> Option<Image> {
    let count = functions.len();
    let (text, names, [soname, version]) = strings(functions);
    // Where everything lies follows from the counts alone.
    let hash_at = HEADER + 2 * PROGRAM_HEADER;
    let symbols_at = (hash_at + 4 * (2 + 1 + count + 1)).next_multiple_of(8);
    let strings_at = symbols_at + SYMBOL * (count + 1);
    let versions_at = (strings_at + text.len()).next_multiple_of(8);
    let definitions_at = (versions_at + 2 * (count + 1)).next_multiple_of(8);
    let dynamic_at = (definitions_at + 2 * 28).next_multiple_of(8);
    let code_at = (dynamic_at + DYNAMIC_ENTRIES * 16).next_multiple_of(16);
    let mut offsets = Vec::new();
    let mut end = code_at;
    for function in functions {
        // One instruction stands before each, for unwinders look up the address before a return address.
        offsets.push(end as u64 + 4);
        end = (end + 4 + function.code.len() * 4).next_multiple_of(16);
    }
    if end > SIZE {
        return None;
    }

    let mut out = Writer(Vec::with_capacity(SIZE));
    write_headers(&mut out, dynamic_at as u64, code_at as u64);
    // One bucket: the chain runs through all symbols.
    for word in [1, count as u32 + 1, 1] {
        out.u32(word);
    }
    out.u32(0);
    (1..=count as u32).for_each(|index| out.u32(if index == count as u32 { 0 } else { index + 1 }));
    out.align(8);
    out.0.resize(out.0.len() + SYMBOL, 0);
    for (index, function) in functions.iter().enumerate() {
        const GLOBAL_FUNCTION: u16 = 1 << 4 | 2;
        const TEXT_SECTION: u16 = 1;
        out.u32(names[index]);
        out.u16(GLOBAL_FUNCTION);
        out.u16(TEXT_SECTION);
        out.u64(offsets[index]);
        out.u64(function.code.len() as u64 * 4);
    }
    out.0.extend_from_slice(&text);
    out.align(8);
    out.u16(0);
    (0..count).for_each(|_| out.u16(2));
    out.align(8);
    write_definition(&mut out, (1, 1), SONAME, soname, false);
    write_definition(&mut out, (0, 2), VERSION, version, true);
    out.align(8);
    let dynamic = [
        (4, hash_at as u64),
        (14, u64::from(soname)),
        (5, strings_at as u64),
        (6, symbols_at as u64),
        (10, text.len() as u64),
        (11, SYMBOL as u64),
        (0x6fff_fff0, versions_at as u64),
        (0x6fff_fffc, definitions_at as u64),
        (0x6fff_fffd, 2),
        (0, 0),
        (0, 0),
    ];
    debug_assert_eq!((out.at(), dynamic.len()), (dynamic_at as u64, DYNAMIC_ENTRIES));
    dynamic.iter().for_each(|&(tag, value)| {
        out.u64(tag);
        out.u64(value);
    });
    out.align(16);
    for function in functions {
        out.u32(NOP);
        function.code.iter().for_each(|&word| out.u32(word));
        while !out.0.len().is_multiple_of(16) {
            out.u32(NOP);
        }
    }
    out.0.resize(SIZE, 0);
    Some(Image { bytes: out.0, offsets })
}

fn write_headers(out: &mut Writer, dynamic_at: u64, code_at: u64) {
    out.0.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    out.u16(3);
    out.u16(183);
    out.u32(1);
    out.u64(code_at);
    out.u64(HEADER as u64);
    out.u64(0);
    out.u32(0);
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 2, 64, 0, 0] {
        out.u16(half);
    }
    // PT_LOAD, readable and executable, the whole page; PT_DYNAMIC.
    let length = DYNAMIC_ENTRIES as u64 * 16;
    for (kind, flags, at, size, align) in [(1, 5, 0, SIZE as u64, SIZE as u64), (2, 4, dynamic_at, length, 8)] {
        out.u32(kind);
        out.u32(flags);
        for value in [at, at, at, size, size, align] {
            out.u64(value);
        }
    }
}

fn write_definition(out: &mut Writer, (flags, index): (u16, u16), name: &str, name_at: u32, last: bool) {
    const DEFINITION: u32 = 20;
    const WITH_NAME: u32 = 28;
    for half in [1, flags, index, 1] {
        out.u16(half);
    }
    out.u32(hash(name));
    out.u32(DEFINITION);
    out.u32(if last { 0 } else { WITH_NAME });
    out.u32(name_at);
    out.u32(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::string::String;

    const FUNCTIONS: [Function<'static>; 4] = functions([&[NOP; 40], &[NOP; 20], &[NOP]]);

    #[test]
    fn sigreturn_is_what_unwinders_know() {
        let image = build(&FUNCTIONS).unwrap();
        let at = image.offsets[0] as usize;
        assert_eq!(image.bytes[at..at + 8], [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4]);
        assert_eq!(image.bytes[at - 4..at], [0x1f, 0x20, 0x03, 0xd5]);
        assert_eq!(image.bytes.len(), SIZE);
        assert_eq!(hash(VERSION), 0x075f_cb89, "the hash that glibc looks for");
    }

    #[test]
    fn readelf_understands_it() {
        let image = build(&FUNCTIONS).unwrap();
        let path = std::env::temp_dir().join(std::format!("vdso-{}", std::process::id()));
        std::fs::write(&path, &image.bytes).unwrap();
        let run = Command::new("readelf").args(["-W", "-D", "-s", "-d", "-l", "-V"]).arg(&path).output();
        std::fs::remove_file(&path).unwrap();
        let output = run.expect("readelf is installed");
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        for function in FUNCTIONS {
            assert!(text.contains(function.name), "{text}");
        }
        assert!(text.contains(SONAME) && text.contains(VERSION), "{text}");
    }

    #[test]
    fn too_much_code_is_refused() {
        let long = [NOP; 1200];
        assert!(build(&[Function { name: "f", code: &long }]).is_none());
    }
}

//! The first stack of a program: strings, auxiliary vector, pointers, argument count (fs/binfmt_elf.c, `create_elf_tables`).
//!
//! From the top downwards: 8 zero bytes, the path of the executable, environment strings, argument strings, the platform name,
//! 16 random bytes, then, with sp on 16 bytes: argc, argv…, NULL, envp…, NULL, auxv…, AT_NULL.

use alloc::vec::Vec;

/// Tags of the auxiliary vector (include/uapi/linux/auxvec.h).
#[allow(missing_docs)]
pub mod aux {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
}

/// Smallest signal stack that we need: frame, frame record and slack, as Linux says on a CPU without SVE.
pub const MINSIGSTKSZ: u64 = 4720;

/// Strings one behind the other, each ended by a NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// Adds one. A NUL inside would make two of it; the caller read it up to its NUL.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// All of them with their NULs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each without its NUL.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == 0).take(self.count)
    }
}

/// What the program is told.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Arguments.
    pub arguments: &'a Strings,
    /// Environment.
    pub environment: &'a Strings,
    /// Path that was executed.
    pub path: &'a [u8],
    /// Bytes for AT_RANDOM.
    pub random: [u8; 16],
    /// The vector without RANDOM, EXECFN, PLATFORM and NULL, which are added here.
    pub auxv: &'a [(u64, u64)],
}

/// The bytes to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// To be written at `sp`; they end at the top.
    pub bytes: Vec<u8>,
    /// Stack pointer at the program's entry.
    pub sp: u64,
    /// Argument strings, for /proc/PID/cmdline.
    pub arguments: core::ops::Range<u64>,
    /// Environment strings.
    pub environment: core::ops::Range<u64>,
}

const PLATFORM: &[u8] = b"aarch64\0";

/// Lays out the stack that ends at `top`; `None` when it would be longer than `limit` bytes.
#[must_use]
pub fn build(top: u64, limit: usize, contents: &Contents<'_>) -> Option<Image> {
    let (arguments, environment) = (contents.arguments, contents.environment);
    let text = 8 + contents.path.len() + 1 + environment.bytes.len() + arguments.bytes.len() + PLATFORM.len() + 16;
    let words = 1 + arguments.count + 1 + environment.count + 1 + 2 * (contents.auxv.len() + 4);
    let length = text.checked_add(words.checked_mul(8)?)?.checked_add(32)?;
    if length > limit || top < length as u64 {
        return None;
    }
    let path = top - 8 - (contents.path.len() as u64 + 1);
    let environment_start = path - environment.bytes.len() as u64;
    let arguments_start = environment_start - arguments.bytes.len() as u64;
    let platform = arguments_start - PLATFORM.len() as u64;
    let random = (platform - 16) & !15;
    let sp = (random - words as u64 * 8) & !15;

    let mut bytes = Vec::with_capacity((top - sp) as usize);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(arguments.count as u64);
    pointers(&mut word, arguments, arguments_start);
    pointers(&mut word, environment, environment_start);
    for &(tag, value) in contents.auxv {
        word(tag);
        word(value);
    }
    for (tag, value) in [(aux::RANDOM, random), (aux::EXECFN, path), (aux::PLATFORM, platform), (aux::NULL, 0)] {
        word(tag);
        word(value);
    }
    bytes.resize((random - sp) as usize, 0);
    bytes.extend_from_slice(&contents.random);
    bytes.resize((platform - sp) as usize, 0);
    bytes.extend_from_slice(PLATFORM);
    bytes.extend_from_slice(&arguments.bytes);
    bytes.extend_from_slice(&environment.bytes);
    bytes.extend_from_slice(contents.path);
    bytes.resize((top - sp) as usize, 0);
    Some(Image { bytes, sp, arguments: arguments_start..environment_start, environment: environment_start..path })
}

fn pointers(word: &mut impl FnMut(u64), strings: &Strings, start: u64) {
    let mut at = start;
    for string in strings.iter() {
        word(at);
        at += string.len() as u64 + 1;
    }
    word(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    fn strings(of: &[String]) -> Strings {
        let mut strings = Strings::default();
        of.iter().for_each(|string| strings.push(string.as_bytes()));
        strings
    }

    struct Reader<'a>(&'a Image, u64);

    impl Reader<'_> {
        fn word(&mut self) -> u64 {
            let at = (self.1 - self.0.sp) as usize;
            self.1 += 8;
            u64::from_le_bytes(self.0.bytes[at..at + 8].try_into().unwrap())
        }

        fn string(&self, at: u64) -> String {
            let tail = &self.0.bytes[(at - self.0.sp) as usize..];
            String::from_utf8(tail[..tail.iter().position(|&b| b == 0).unwrap()].to_vec()).unwrap()
        }

        fn list(&mut self) -> Vec<String> {
            core::iter::from_fn(|| Some(self.word()).filter(|&p| p != 0).map(|p| self.string(p))).collect()
        }
    }

    proptest! {
        #[test]
        fn a_program_reads_back_what_it_was_given(
            arguments in prop::collection::vec("[ -~]{0,40}", 0..12),
            environment in prop::collection::vec("[A-Z]{1,8}=[ -~]{0,40}", 0..12),
            path in "/[a-z/]{1,40}",
        ) {
            let contents = Contents {
                arguments: &strings(&arguments), environment: &strings(&environment), path: path.as_bytes(),
                random: *b"0123456789abcdef", auxv: &[(aux::PAGESZ, 4096), (aux::ENTRY, 0x400_000)],
            };
            let top = 0xffff_ffff_f000;
            let image = build(top, 1 << 20, &contents).unwrap();
            prop_assert_eq!(image.sp % 16, 0);
            prop_assert_eq!(image.sp + image.bytes.len() as u64, top);
            let mut reader = Reader(&image, image.sp);
            prop_assert_eq!(reader.word(), arguments.len() as u64);
            prop_assert_eq!(reader.list(), arguments);
            prop_assert_eq!(reader.list(), environment);
            let mut auxv = std::collections::BTreeMap::new();
            loop {
                let (tag, value) = (reader.word(), reader.word());
                if tag == aux::NULL { break; }
                prop_assert!(auxv.insert(tag, value).is_none());
            }
            prop_assert_eq!(auxv[&aux::ENTRY], 0x400_000);
            prop_assert_eq!(reader.string(auxv[&aux::EXECFN]), path);
            prop_assert_eq!(reader.string(auxv[&aux::PLATFORM]), "aarch64");
            let random = (auxv[&aux::RANDOM] - image.sp) as usize;
            prop_assert_eq!(&image.bytes[random..random + 16], b"0123456789abcdef");
        }
    }

    #[test]
    fn too_much_is_refused() {
        let many = strings(&std::vec![String::from("x"); 1000]);
        let none = Strings::default();
        let contents = Contents { arguments: &many, environment: &none, path: b"/x", random: [0; 16], auxv: &[] };
        assert!(build(1 << 40, 4096, &contents).is_none());
        assert!(build(100, 1 << 20, &contents).is_none());
    }
}

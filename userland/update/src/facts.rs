//! What the loader held the running system to, as /proc/boot tells it.

use alloc::vec::Vec;
use bootctl::Slot;
use release::trust::Roots;

/// Most root keys.
const ROOTS_MAX: usize = 8;

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The slot that runs; `None`: something else was booted.
    pub slot: Option<Slot>,
    /// The system was booted to be repaired.
    pub recovery: bool,
    /// Digest of the release that runs.
    pub release: [u8; 32],
    /// Its rollback index.
    pub rollback_index: u64,
    /// Version of the key set that it was accepted under.
    pub key_set: u64,
    /// How many of root's keys must sign a key set; 0: no loader verified anything.
    pub root_threshold: usize,
    /// Root's public keys.
    pub roots: Vec<[u8; 32]>,
}

impl Facts {
    /// Reads the text. What it does not know is left out; `None` when a value is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut facts = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ')?;
            match key {
                "slot" => facts.slot = Slot::ALL.into_iter().find(|slot| slot.name() == value),
                "recovery" => facts.recovery = value == "1",
                "release" => facts.release = hex(value)?,
                "rollback_index" => facts.rollback_index = value.parse().ok()?,
                "key_set" => facts.key_set = value.parse().ok()?,
                "root_threshold" => facts.root_threshold = value.parse().ok()?,
                "root" if facts.roots.len() < ROOTS_MAX => facts.roots.push(hex(value)?),
                _ => {}
            }
        }
        Some(facts)
    }

    /// Whom a release is held to.
    pub fn trust(&self) -> Roots<'_> {
        Roots { keys: &self.roots, threshold: self.root_threshold }
    }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        let digest = "0a".repeat(32);
        let text = alloc::format!(
            "slot b\nrecovery 0\nrelease {digest}\nrollback_index 7\nrollback_floor 5\nkey_set 2\nkey_set_floor 1\n\
             root_threshold 1\nroot {digest}\nnew thing\n"
        );
        let facts = Facts::parse(&text).unwrap();
        assert_eq!((facts.slot, facts.rollback_index, facts.key_set), (Some(Slot::B), 7, 2));
        assert_eq!((facts.release, facts.trust().threshold, facts.roots.len()), ([10; 32], 1, 1));
        assert_eq!(Facts::parse("slot esp\n").unwrap().slot, None);
        for wrong in ["slot", "rollback_index x\n", "release 0a\n", "root zz\n"] {
            assert_eq!(Facts::parse(wrong), None, "{wrong}");
        }
    }
}

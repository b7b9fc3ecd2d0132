//! What the loader held the running system to, as /proc/boot tells it.

use alloc::string::String;
use alloc::vec::Vec;
use bootctl::Slot;
use release::roots::MAX_QUORUMS;
use release::trust::{Quorum, Roots};

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
    /// The smallest rollback index that the loader takes, by the boot-control block or by what the firmware keeps.
    pub rollback_floor: u64,
    /// Version of the key set that it was accepted under.
    pub key_set: u64,
    /// The smallest version of one that the loader takes.
    pub key_set_floor: u64,
    /// The loader's security version.
    pub loader_security: u32,
    /// It is on trial with the release.
    pub loader_on_trial: bool,
    /// Who of root's keys must sign a key set: so many, of those that the bits name.
    pub root_quorums: Vec<(u32, u32)>,
    /// Root's public keys; none: no loader verified anything.
    pub roots: Vec<[u8; 32]>,
    /// How the boot before ended, in a word of docs/formats/last-boot.md, and why; empty: nobody knows.
    pub last_boot: (String, String),
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
                "rollback_floor" => facts.rollback_floor = value.parse().ok()?,
                "key_set_floor" => facts.key_set_floor = value.parse().ok()?,
                "loader_security" => facts.loader_security = value.parse().ok()?,
                "loader_on_trial" => facts.loader_on_trial = value == "1",
                "key_set" => facts.key_set = value.parse().ok()?,
                "root_quorum" if facts.root_quorums.len() < MAX_QUORUMS => {
                    let (threshold, members) = value.split_once(' ')?;
                    let members = u32::from_str_radix(members, 16).ok()?;
                    facts.root_quorums.push((threshold.parse().ok()?, members));
                }
                "last_boot" => facts.last_boot.0 = value.into(),
                "last_boot_why" => facts.last_boot.1 = value.into(),
                "root" if facts.roots.len() < ROOTS_MAX => facts.roots.push(hex(value)?),
                _ => {}
            }
        }
        Some(facts)
    }

    /// Whom a release is held to.
    pub fn trust(&self) -> Roots<'_> {
        let quorum = |at: usize| {
            self.root_quorums.get(at).map_or(Quorum::NONE, |&(threshold, members)| Quorum { threshold, members })
        };
        Roots { keys: &self.roots, quorums: core::array::from_fn(quorum) }
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
             loader_security 4\nloader_on_trial 1\n\
             root_quorum 1 1\nroot_quorum 2 6\nroot {digest}\nlast_boot panic\nlast_boot_why a test\nnew thing\n"
        );
        let facts = Facts::parse(&text).unwrap();
        assert_eq!((facts.slot, facts.rollback_index, facts.key_set), (Some(Slot::B), 7, 2));
        assert_eq!((facts.release, facts.trust().quorums[1].members, facts.roots.len()), ([10; 32], 6, 1));
        assert_eq!((facts.rollback_floor, facts.key_set_floor), (5, 1));
        assert_eq!((facts.loader_security, facts.loader_on_trial), (4, true));
        assert_eq!(facts.last_boot, ("panic".into(), "a test".into()));
        assert_eq!(Facts::parse("slot esp\n").unwrap().slot, None);
        for wrong in ["slot", "rollback_index x\n", "release 0a\n", "root zz\n", "root_quorum 1\n"] {
            assert_eq!(Facts::parse(wrong), None, "{wrong}");
        }
    }
}

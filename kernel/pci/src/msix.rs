//! MSI-X (6.8.2): a table in a BAR, of what a function writes where to interrupt.

use crate::{Address, ConfigAccess, register};

/// Bytes of an entry of the table.
pub const ENTRY_LENGTH: usize = 16;
/// Offsets in an entry; the last word's bit 0 masks it.
pub mod entry {
    /// Lower half of the address.
    pub const ADDRESS: usize = 0;
    /// Upper half.
    pub const ADDRESS_UPPER: usize = 4;
    /// What is written.
    pub const DATA: usize = 8;
    /// Mask.
    pub const CONTROL: usize = 12;
}

const STATUS_HAS_CAPABILITIES: u32 = 1 << 20;
const CAPABILITY: u8 = 0x11;
/// The 192 bytes after the header hold at most this many capabilities; a longer list is a loop.
const CAPABILITIES_MAX: usize = 48;
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;

/// A function's MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiX {
    at: u16,
    /// Entries of the table, at least 1.
    pub vectors: u16,
    /// BAR in which the table lies.
    pub bar: u8,
    /// Its first byte there.
    pub offset: u32,
}

impl MsiX {
    /// Looks for the capability.
    pub fn find(config: &impl ConfigAccess, address: Address) -> Option<Self> {
        let has_list = config.read32(address, register::COMMAND) & STATUS_HAS_CAPABILITIES != 0;
        let mut at = if has_list { config.read32(address, register::CAPABILITIES) as u8 & 0xfc } else { 0 };
        for _ in 0..CAPABILITIES_MAX {
            if at < 0x40 {
                break; // the end of the list, or a pointer into the header
            }
            let [id, next, low, high] = config.read32(address, at.into()).to_le_bytes();
            if id == CAPABILITY {
                let table = config.read32(address, u16::from(at) + 4);
                let vectors = (u16::from_le_bytes([low, high]) & 0x7ff) + 1;
                let found = Self { at: at.into(), vectors, bar: table as u8 & 7, offset: table & !7 };
                return (found.bar < 6).then_some(found);
            }
            at = next & 0xfc;
        }
        None
    }

    /// Lets the function interrupt by messages, and no longer by its pin. The entries have been written.
    pub fn enable(&self, config: &impl ConfigAccess, address: Address) {
        let control = config.read32(address, self.at);
        config.write32(address, self.at, control & !MASK_ALL | ENABLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::vec;
    use std::vec::Vec;

    const FUNCTION: Address = Address { segment: 0, bus: 0, device: 3, function: 0 };

    struct Config(RefCell<Vec<u8>>);

    impl ConfigAccess for Config {
        fn read32(&self, _: Address, offset: u16) -> u32 {
            let at = usize::from(offset);
            u32::from_le_bytes(self.0.borrow()[at..at + 4].try_into().unwrap())
        }
        fn write32(&self, _: Address, offset: u16, value: u32) {
            self.0.borrow_mut()[usize::from(offset)..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }

    /// A vendor capability at 0x84, then MSI-X at 0x98 as QEMU's virtio functions have it.
    fn qemu() -> Config {
        let mut bytes = vec![0; 260];
        bytes[6] = 0x10;
        bytes[0x34] = 0x84;
        bytes[0x84..0x88].copy_from_slice(&[0x09, 0x98, 16, 1]);
        bytes[0x98..0xa4].copy_from_slice(&[0x11, 0, 3, 0x40, 0x01, 0x20, 0, 0, 0x01, 0x28, 0, 0]);
        Config(RefCell::new(bytes))
    }

    #[test]
    fn is_found_behind_others() {
        let config = qemu();
        let found = MsiX::find(&config, FUNCTION).unwrap();
        assert_eq!(found, MsiX { at: 0x98, vectors: 4, bar: 1, offset: 0x2000 });
        found.enable(&config, FUNCTION);
        assert_eq!(config.0.borrow()[0x98..0x9c], [0x11, 0, 3, 0x80]);
    }

    #[test]
    fn what_is_not_there_is_none() {
        for (at, byte) in [(6, 0), (0x34, 0), (0x85, 0x20), (0x98, 0x05), (0x9c, 6)] {
            let config = qemu();
            config.0.borrow_mut()[at] = byte;
            assert_eq!(MsiX::find(&config, FUNCTION), None, "{at:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_list_ends(edits in prop::collection::vec((0_usize..256, any::<u8>()), 0..80)) {
            let config = qemu();
            for (at, byte) in edits { config.0.borrow_mut()[at] = byte; }
            if let Some(found) = MsiX::find(&config, FUNCTION) {
                prop_assert!(found.bar < 6 && found.offset % 8 == 0 && (1..=2048).contains(&found.vectors));
            }
        }
    }
}

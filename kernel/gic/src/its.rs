//! The interrupt translation service of GICv3 (Arm IHI 0069H; chapters 5 and 12.19): its registers' fields, the sizes of its tables, its
//! commands.
//!
//! A device writes an event's number; the service finds by the writer's device ID and the event which interrupt that is (an LPI) and which
//! collection it belongs to, that is, which CPU takes it.

/// Registers (12.18).
#[allow(missing_docs)]
pub mod register {
    pub const CTLR: usize = 0x0000;
    pub const TYPER: usize = 0x0008;
    pub const CBASER: usize = 0x0080;
    pub const CWRITER: usize = 0x0088;
    pub const CREADR: usize = 0x0090;
    pub const BASER: usize = 0x0100;
    /// How many BASER registers there are.
    pub const BASERS: usize = 8;
    /// Where a device writes, from the start of the service.
    pub const TRANSLATER: u64 = 0x1_0040;
    /// CTLR: switched on; and, once switched off, at rest.
    pub const CTLR_ENABLED: u32 = 1;
    pub const CTLR_QUIESCENT: u32 = 1 << 31;
    /// CREADR: stopped at a command that is wrong.
    pub const CREADR_STALLED: u64 = 1;
}

/// Normal memory, inner shareable, read- and write-allocate: the fields that CBASER and the BASERs have in the same places.
const CACHEABLE: u64 = 7 << 59 | 1 << 10;
const VALID: u64 = 1 << 63;
/// Tables and queue are given in pages of this size, where the service lets us choose.
pub const PAGE: u64 = 64 << 10;
/// Device IDs that there is a table for, as bits: what a PCI requester ID has.
const DEVICE_BITS_MAX: u32 = 16;

/// What GITS_TYPER says (12.19.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// Bytes of an entry of an interrupt translation table.
    pub entry_length: u64,
    /// Bits of a device ID.
    pub device_bits: u32,
    /// A redistributor is named by its address, else by its number.
    pub names_by_address: bool,
}

impl Type {
    /// From the register.
    #[must_use]
    pub const fn new(typer: u64) -> Self {
        Self {
            entry_length: (typer >> 4 & 15) + 1,
            device_bits: (typer >> 13 & 31) as u32 + 1,
            names_by_address: typer >> 19 & 1 != 0,
        }
    }

    /// How commands name a redistributor: by address, or by the number in its GICR_TYPER.
    #[must_use]
    pub const fn target(&self, address: u64, redistributor_typer: u64) -> Target {
        let number = redistributor_typer >> 8 & 0xffff;
        Target(if self.names_by_address { address & 0xf_ffff_ffff_0000 } else { number << 16 })
    }
}

/// A redistributor as commands name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u64);

/// What a table that the service asks for holds (12.19.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Devices, by device ID.
    Devices,
    /// Collections.
    Collections,
}

/// A table that the service asks for: what a GITS_BASER says before it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableWish {
    /// What it holds.
    pub table: Table,
    /// Bytes of memory for it, a multiple of [`PAGE`].
    pub bytes: u64,
    /// The register's own fields: kind and length of an entry.
    fixed: u64,
}

impl TableWish {
    /// What a GITS_BASER asks for; `None` where it is nothing, or nothing that we use.
    #[must_use]
    pub fn of(baser: u64, device_bits: u32) -> Option<Self> {
        let entry_length = (baser >> 48 & 31) + 1;
        let (table, entries) = match baser >> 56 & 7 {
            1 => (Table::Devices, 1 << device_bits.min(DEVICE_BITS_MAX)),
            4 => (Table::Collections, 1),
            _ => return None,
        };
        let bytes = (entry_length * entries).next_multiple_of(PAGE);
        Some(Self { table, bytes, fixed: baser & (7 << 56 | 31 << 48) })
    }

    /// What to write for memory at `address`, in pages of 4, 16 or 64 KiB by `page_code` (0, 1, 2). `None` where the field for their count
    /// is too small, or the address is not one that it can name.
    #[must_use]
    pub fn value(&self, address: u64, page_code: u64) -> Option<u64> {
        let page = [4 << 10, 16 << 10, 64 << 10].get(page_code as usize)?;
        let pages = self.bytes / page;
        let names_it = address.is_multiple_of(PAGE) && address < 1 << 48;
        (pages <= 256 && names_it).then_some(VALID | CACHEABLE | self.fixed | address | page_code << 8 | (pages - 1))
    }

    /// The page size that the service took, from the register as it reads after writing.
    #[must_use]
    pub const fn page_code(baser: u64) -> u64 {
        baser >> 8 & 3
    }
}

/// What to write to GITS_CBASER for a queue of commands of `bytes`, a multiple of 4096, at `address`, a multiple of [`PAGE`].
#[must_use]
pub const fn queue(address: u64, bytes: u64) -> u64 {
    VALID | CACHEABLE | address | (bytes / 4096 - 1)
}

/// What to write to GICR_PROPBASER for a table of properties at `address` of all LPIs whose numbers have `bits` bits (12.11.30).
#[must_use]
pub const fn properties(address: u64, bits: u64) -> u64 {
    7 << 7 | 1 << 10 | address | (bits - 1)
}

/// What to write to GICR_PENDBASER for a table of zeroes at `address` (12.11.28).
#[must_use]
pub const fn pending(address: u64) -> u64 {
    1 << 62 | 7 << 7 | 1 << 10 | address
}

/// The properties of an LPI that is let through with this priority (5.1.1).
#[must_use]
pub const fn property(priority: u8) -> u8 {
    priority & 0xfc | 1
}

/// Bytes of a command.
pub const COMMAND_LENGTH: usize = 32;

/// A command (5.3). There is one collection, number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collection 0 is this redistributor.
    MapCollection(Target),
    /// The device has events of so many bits, and the table of them is at this address, a multiple of 256.
    MapDevice {
        /// Device ID.
        device: u32,
        /// Bits of an event's number, at least 1.
        event_bits: u64,
        /// Address of the table.
        table: u64,
    },
    /// The device's event is this LPI, of collection 0.
    MapEvent {
        /// Device ID.
        device: u32,
        /// Event.
        event: u32,
        /// Interrupt.
        lpi: u32,
    },
    /// What was commanded before has reached the redistributor.
    Synchronize(Target),
}

impl Command {
    /// As the queue holds it.
    #[must_use]
    pub fn words(self) -> [u64; COMMAND_LENGTH / 8] {
        let of = |device: u32, code: u64| code | u64::from(device) << 32;
        match self {
            Self::MapCollection(target) => [0x09, 0, VALID | target.0, 0],
            Self::MapDevice { device, event_bits, table } => [of(device, 0x08), event_bits - 1, VALID | table, 0],
            Self::MapEvent { device, event, lpi } => [of(device, 0x0a), u64::from(event) | u64::from(lpi) << 32, 0, 0],
            Self::Synchronize(target) => [0x05, 0, target.0, 0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What QEMU 7.2's service says: entries of 12 bytes, 16 bits of device ID, redistributors by number.
    const QEMU: u64 = 0xb << 4 | 15 << 13 | 15 << 8 | 1;

    #[test]
    fn the_type_of_a_service() {
        assert_eq!(Type::new(QEMU), Type { entry_length: 12, device_bits: 16, names_by_address: false });
        assert_eq!(Type::new(QEMU).target(0x80a_0000, 3 << 8 | 0x10), Target(3 << 16));
        assert_eq!(Type::new(QEMU | 1 << 19).target(0x80a_0000, 3 << 8), Target(0x80a_0000));
    }

    #[test]
    fn tables_are_as_large_as_requester_ids_need() {
        let devices = TableWish::of(1 << 56 | 7 << 48, 16).unwrap();
        assert_eq!((devices.table, devices.bytes), (Table::Devices, 512 << 10));
        assert_eq!(TableWish::of(1 << 56 | 7 << 48, 32), Some(devices), "more bits than PCI has are of no use");
        assert_eq!(TableWish::of(1 << 56 | 7 << 48, 4).unwrap().bytes, PAGE);
        let collections = TableWish::of(4 << 56 | 15 << 48, 16).unwrap();
        assert_eq!((collections.table, collections.bytes), (Table::Collections, PAGE));
        assert_eq!(TableWish::of(0, 16), None);
        assert_eq!(TableWish::of(2 << 56, 16), None, "virtual CPUs");
        let fixed = 1 << 56 | 7 << 48;
        assert_eq!(devices.value(0x4_0000, 2), Some(VALID | CACHEABLE | fixed | 0x4_0000 | 2 << 8 | 7));
        assert_eq!(devices.value(0x4_0000, 0), Some(VALID | CACHEABLE | fixed | 0x4_0000 | 127));
        assert_eq!(TableWish::of(1 << 56 | 31 << 48, 16).unwrap().value(0x4_0000, 0), None, "512 pages");
        assert_eq!(devices.value(0x4_1000, 2), None);
        assert_eq!(devices.value(1 << 48, 2), None);
        assert_eq!(devices.value(0x4_0000, 3), None);
    }

    #[test]
    fn registers_as_the_architecture_draws_them() {
        assert_eq!(queue(0x8_0000, 65536), 0xb800_0000_0008_040f);
        assert_eq!(properties(0x9_0000, 14), 0x9_078d);
        assert_eq!(pending(0xa_0000), 0x4000_0000_000a_0780);
        assert_eq!(property(0xa0), 0xa1);
    }

    #[test]
    fn commands_as_the_architecture_draws_them() {
        let target = Target(0x5_0000);
        for (command, words) in [
            (Command::MapCollection(target), [9, 0, 0x8000_0000_0005_0000, 0]),
            (
                Command::MapDevice { device: 0x18, event_bits: 5, table: 0x1234_5600 },
                [0x18_0000_0008, 4, 0x8000_0000_1234_5600, 0],
            ),
            (Command::MapEvent { device: 0x18, event: 3, lpi: 8195 }, [0x18_0000_000a, 0x2003_0000_0003, 0, 0]),
            (Command::Synchronize(target), [5, 0, 0x5_0000, 0]),
        ] {
            assert_eq!(command.words(), words);
        }
    }

    proptest! {
        #[test]
        fn a_table_that_is_set_is_one_that_was_asked_for(baser: u64, bits in 1_u32..33, page in 0_u64..4) {
            if let Some(wish) = TableWish::of(baser, bits)
                && let Some(value) = wish.value(0x4000_0000, page)
            {
                prop_assert_eq!(value >> 56 & 7, baser >> 56 & 7);
                prop_assert_eq!(value >> 48 & 31, baser >> 48 & 31);
                let size = [4_u64 << 10, 16 << 10, 64 << 10][TableWish::page_code(value) as usize];
                prop_assert_eq!(((value & 255) + 1) * size, wish.bytes);
            }
        }
    }
}

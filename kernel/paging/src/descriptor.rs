//! One entry of a translation table (Arm ARM, D8.3.1 and D8.3.2).

/// Valid.
const VALID: u64 = 1 << 0;
/// Table at levels 0 to 2, page at level 3; clear means block.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// Access from EL0.
const AP_EL0: u64 = 1 << 6;
/// Read-only.
const AP_READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const EXECUTE_NEVER: u64 = 1 << 54;
/// Ours (software bits 55 to 58): the page has a reference count that this entry holds a share of.
const COUNTED: u64 = 1 << 55;
/// Output address bits 47:12.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// Memory type: the index of its byte in [`MAIR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Device-nGnRE: registers.
    Device = 0,
    /// Normal, write-back, inner shareable: RAM, and everything that DMA shares coherently.
    Normal = 1,
    /// Normal, not cacheable: frame buffers.
    Uncached = 2,
}

/// MAIR_EL1 for the indices of [`Memory`].
pub const MAIR: u64 = 0x04 | 0xff << 8 | 0x44 << 16;

/// Who may do what. No combination is writable and executable for the kernel; for user pages that is the caller's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Kernel reads.
    KernelRead,
    /// Kernel reads and writes.
    KernelWrite,
    /// Kernel reads and executes.
    KernelExecute,
    /// A user's page that the user may not use now.
    UserNone,
    /// User may read, and as said write and execute.
    User {
        /// may write
        write: bool,
        /// may execute
        execute: bool,
    },
}

/// Everything a leaf says beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// memory type
    pub memory: Memory,
    /// permissions
    pub access: Access,
    /// the entry holds a share of the page's reference count
    pub counted: bool,
}

/// Level of a table: 0 is the root, 3 holds pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub u8);

impl Level {
    /// The root.
    pub const ROOT: Level = Level(0);
    /// The level of pages.
    pub const PAGE: Level = Level(3);

    /// log2 of the bytes that one entry covers.
    #[must_use]
    pub const fn shift(self) -> u32 {
        39 - 9 * self.0 as u32
    }

    /// Bytes that one entry covers.
    #[must_use]
    pub const fn size(self) -> u64 {
        1 << self.shift()
    }

    /// Index of the entry for an address.
    #[must_use]
    pub const fn index(self, address: u64) -> usize {
        (address >> self.shift()) as usize & 511
    }

    /// The level below; a page has none.
    #[must_use]
    pub const fn below(self) -> Level {
        assert!(self.0 < 3);
        Level(self.0 + 1)
    }
}

/// A table's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// Translates nothing.
    pub const INVALID: Descriptor = Descriptor(0);

    /// A pointer to the next level's table.
    #[must_use]
    pub const fn table(address: u64) -> Descriptor {
        assert!(address & !ADDRESS == 0);
        Descriptor(address | TABLE_OR_PAGE | VALID)
    }

    /// A page (level 3) or a block (levels 1 and 2).
    #[must_use]
    pub const fn leaf(level: Level, address: u64, attributes: Attributes) -> Descriptor {
        assert!(address & !ADDRESS == 0 && address & (level.size() - 1) == 0);
        let kind = if level.0 == 3 { TABLE_OR_PAGE } else { 0 };
        let access = match attributes.access {
            Access::KernelRead => AP_READ_ONLY | PRIVILEGED_EXECUTE_NEVER | EXECUTE_NEVER,
            Access::KernelWrite => PRIVILEGED_EXECUTE_NEVER | EXECUTE_NEVER,
            Access::KernelExecute => AP_READ_ONLY | EXECUTE_NEVER,
            Access::UserNone => AP_READ_ONLY | NOT_GLOBAL | PRIVILEGED_EXECUTE_NEVER | EXECUTE_NEVER,
            Access::User { write, execute } => {
                AP_EL0
                    | NOT_GLOBAL
                    | PRIVILEGED_EXECUTE_NEVER
                    | if write { 0 } else { AP_READ_ONLY }
                    | if execute { 0 } else { EXECUTE_NEVER }
            }
        };
        let counted = if attributes.counted { COUNTED } else { 0 };
        let memory = (attributes.memory as u64) << 2;
        Descriptor(address | kind | VALID | memory | access | counted | INNER_SHAREABLE | ACCESS_FLAG)
    }

    /// Translates, or points to a table.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Points to a table, seen in a table of `level`.
    #[must_use]
    pub const fn is_table(self, level: Level) -> bool {
        level.0 < 3 && self.0 & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE
    }

    /// Output address, or the next table's.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 & ADDRESS
    }

    /// A leaf through which EL0 may write.
    #[must_use]
    pub const fn is_user_writable(self) -> bool {
        self.0 & (VALID | AP_EL0 | AP_READ_ONLY) == VALID | AP_EL0
    }

    /// A leaf through which EL0 may execute.
    #[must_use]
    pub const fn is_user_executable(self) -> bool {
        self.0 & (VALID | AP_EL0 | EXECUTE_NEVER) == VALID | AP_EL0
    }

    /// The entry holds a share of the page's reference count.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    /// The same leaf without write permission.
    #[must_use]
    pub const fn read_only(self) -> Descriptor {
        Descriptor(self.0 | AP_READ_ONLY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: Attributes = Attributes { memory: Memory::Normal, access: Access::KernelWrite, counted: false };

    #[test]
    fn kernel_page_bits_are_those_of_the_manual() {
        assert_eq!(Descriptor::leaf(Level::PAGE, 0x4000_1000, RAM).0, 0x0060_0000_4000_1707);
        let text = Attributes { access: Access::KernelExecute, ..RAM };
        assert_eq!(Descriptor::leaf(Level(2), 0x4020_0000, text).0, 0x0040_0000_4020_0785);
    }

    #[test]
    fn nothing_of_the_kernel_is_writable_and_executable() {
        for access in [Access::KernelRead, Access::KernelWrite, Access::KernelExecute] {
            let leaf = Descriptor::leaf(Level::PAGE, 0, Attributes { access, ..RAM });
            let writable = leaf.0 & AP_READ_ONLY == 0;
            let executable = leaf.0 & PRIVILEGED_EXECUTE_NEVER == 0;
            assert!(!(writable && executable));
            assert!(!leaf.is_user_writable() && !leaf.is_user_executable());
        }
    }

    #[test]
    fn user_pages_are_not_global_and_never_run_in_the_kernel() {
        for (write, execute) in [(false, false), (true, false), (false, true), (true, true)] {
            let leaf =
                Descriptor::leaf(Level::PAGE, 0x1000, Attributes { access: Access::User { write, execute }, ..RAM });
            assert_eq!((leaf.is_user_writable(), leaf.is_user_executable()), (write, execute));
            assert!(leaf.0 & NOT_GLOBAL != 0 && leaf.0 & PRIVILEGED_EXECUTE_NEVER != 0);
            assert!(!leaf.read_only().is_user_writable());
        }
    }

    #[test]
    fn indices_split_an_address() {
        let address = 0xffff_8000_4020_3000_u64;
        let parts: [usize; 4] = core::array::from_fn(|level| Level(level as u8).index(address));
        assert_eq!(parts, [256, 1, 1, 3]);
    }

    #[test]
    #[should_panic]
    fn a_block_is_aligned_to_its_size() {
        let _ = Descriptor::leaf(Level(2), 0x1000, RAM);
    }
}

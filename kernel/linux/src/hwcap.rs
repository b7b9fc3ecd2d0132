//! `AT_HWCAP`: what a program may use, from the CPU's identification registers (arch/arm64/include/uapi/asm/hwcap.h; Arm ARM, D19.2).

/// The registers, sanitised: only features whose state the kernel keeps.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// ID_AA64ISAR0_EL1
    pub isar0: u64,
    /// ID_AA64ISAR1_EL1
    pub isar1: u64,
    /// ID_AA64PFR0_EL1
    pub pfr0: u64,
}

/// Bit 11: programs may read the identification registers, for the kernel answers.
const CPUID: u64 = 1 << 11;

/// The bits.
#[must_use]
pub fn hwcap(registers: &Registers) -> u64 {
    let Registers { isar0, isar1, pfr0 } = *registers;
    // (register, position of the 4-bit field, least value, bit of HWCAP)
    let rows: [(u64, u32, u64, u32); 25] = [
        (isar0, 4, 1, 3),
        (isar0, 4, 2, 4),
        (isar0, 8, 1, 5),
        (isar0, 12, 1, 6),
        (isar0, 16, 1, 7),
        (isar0, 20, 2, 8),
        (isar0, 28, 1, 12),
        (isar1, 12, 1, 13),
        (isar1, 16, 1, 14),
        (isar1, 20, 1, 15),
        (isar1, 0, 1, 16),
        (isar0, 32, 1, 17),
        (isar0, 36, 1, 18),
        (isar0, 40, 1, 19),
        (isar0, 44, 1, 20),
        (isar0, 12, 2, 21),
        (isar0, 48, 1, 23),
        (pfr0, 48, 1, 24),
        (isar1, 20, 2, 26),
        (isar0, 52, 1, 27),
        (isar1, 36, 1, 29),
        (pfr0, 16, 0, 0),
        (pfr0, 20, 0, 1),
        (pfr0, 16, 1, 9),
        (pfr0, 20, 1, 10),
    ];
    rows.iter().fold(CPUID, |bits, &(register, position, least, bit)| {
        let field = register >> position & 15;
        // In PFR0's FP and AdvSIMD fields 15 means that there is none.
        let present = field >= least && field != 15;
        bits | u64::from(present) << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cortex_a72_and_neoverse_n1() {
        // Identification registers of the two cores (their technical reference manuals).
        let a72 = Registers { isar0: 0x0001_1120, isar1: 0, pfr0: 0x11 };
        assert_eq!(hwcap(&a72), 0x8fb, "fp asimd aes pmull sha1 sha2 crc32 cpuid; Linux adds evtstrm");
        let n1 = Registers { isar0: 0x0000_1000_1021_1120, isar1: 0x0010_0001, pfr0: 0x11_0011 };
        assert_eq!(
            hwcap(&n1) | 1 << 2 | 1 << 28,
            0x1011_9fff,
            "as Linux 6.1, with evtstrm and ssbs which we do not offer"
        );
    }

    #[test]
    fn nothing_without_fp() {
        let none = Registers { isar0: 0, isar1: 0, pfr0: 0xff_0011 };
        assert_eq!(hwcap(&none), CPUID);
    }
}

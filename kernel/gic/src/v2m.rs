//! GICv2m (Arm DEN 0029, appendix E): a frame in which a device's write sets an SPI.

/// Offset of the register that says which SPIs are the frame's.
pub const MSI_TYPER: usize = 0x008;
/// Offset of the register that a device writes an SPI's number to.
pub const MSI_SETSPI_NS: u64 = 0x040;

/// The interrupts of a frame whose MSI_TYPER is this: the first, and how many. `None` where they are no SPIs.
#[must_use]
pub fn interrupts(typer: u32) -> Option<(u32, u32)> {
    checked(typer >> 16 & 0x3ff, typer & 0x3ff)
}

/// The same where the firmware's tables say it instead.
#[must_use]
pub fn checked(first: u32, count: u32) -> Option<(u32, u32)> {
    let end = first.checked_add(count)?;
    (first >= 32 && end <= 1020 && count > 0).then_some((first, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spis_are_believed() {
        assert_eq!(interrupts(80 << 16 | 64), Some((80, 64)));
        for (first, count) in [(0, 64), (31, 2), (80, 0), (1000, 21), (1023, 1), (u32::MAX, 2)] {
            assert_eq!(checked(first, count), None, "{first} {count}");
        }
        assert_eq!(checked(1000, 20), Some((1000, 20)));
    }
}

//! The PL031 real-time clock (Arm DDI 0224): a counter of seconds, since 1970 by convention.

use super::mmio::Mmio;

const DATA: usize = 0x00;
const REGISTERS_LENGTH: u64 = 0x1000;

/// What the clock shows; 0 where it cannot be reached.
#[must_use]
pub fn seconds(physical: u64) -> u64 {
    Mmio::map(physical, REGISTERS_LENGTH).map_or(0, |registers| registers.read32(DATA).into())
}

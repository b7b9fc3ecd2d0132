//! How interrupts of PCI functions reach the interrupt controller: as messages, whose sender is known by an identity, or over lines.

use crate::{Interrupt, Platform};

/// A range of requester IDs (bus, device, function as 8 + 5 + 3 bits) and the device IDs by which the interrupt translation service knows
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMap {
    /// PCI segment.
    pub segment: u16,
    /// First requester ID.
    pub first: u32,
    /// Last requester ID, included.
    pub last: u32,
    /// Device ID of the first.
    pub output: u32,
}

impl MsiMap {
    /// `None` where a number would not fit.
    #[must_use]
    pub fn new(segment: u16, first: u32, count: u32, output: u32) -> Option<Self> {
        let last = first.checked_add(count.checked_sub(1)?)?;
        output.checked_add(last - first)?;
        Some(Self { segment, first, last, output })
    }

    /// What this map followed by `next`, a map of the IDs that it gives, does with the requesters of this one.
    #[must_use]
    pub fn then(&self, next: &Self) -> Option<Self> {
        let last_output = self.output + (self.last - self.first);
        let (from, to) = (self.output.max(next.first), last_output.min(next.last));
        let count = to.checked_sub(from)?.checked_add(1)?;
        Self::new(self.segment, self.first + (from - self.output), count, next.output + (from - next.first))
    }
}

/// A line of a host bridge: which functions raise it by which pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciLine {
    /// PCI segment.
    pub segment: u16,
    /// Bus, device and function at bits 16, 11 and 8, as far as `address_mask` has them.
    pub address: u32,
    /// Pin, 1 to 4 for INTA to INTD, as far as `pin_mask` has it.
    pub pin: u32,
    /// Bits of the address that count.
    pub address_mask: u32,
    /// Bits of the pin that count.
    pub pin_mask: u32,
    /// The interrupt.
    pub interrupt: Interrupt,
}

impl Platform {
    /// The device ID of a requester. Where the tables say nothing of a segment, the two are the same.
    #[must_use]
    pub fn device_id(&self, segment: u16, requester: u16) -> Option<u32> {
        let requester = u32::from(requester);
        let mut maps = self.msi_maps.iter().filter(|map| map.segment == segment).peekable();
        if maps.peek().is_none() {
            return Some(requester);
        }
        let map = maps.find(|map| (map.first..=map.last).contains(&requester))?;
        Some(map.output + (requester - map.first))
    }

    /// The interrupt that a function on a root bus raises by `pin`; `address` is its bus, device and function at bits 16, 11 and 8.
    #[must_use]
    pub fn pci_line(&self, segment: u16, address: u32, pin: u8) -> Option<Interrupt> {
        let pin = u32::from(pin);
        let line = self.pci_lines.iter().find(|line| {
            line.segment == segment && address & line.address_mask == line.address && pin & line.pin_mask == line.pin
        });
        line.map(|line| line.interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trigger;
    use proptest::prelude::*;
    use std::boxed::Box;

    #[test]
    fn requesters_become_devices() {
        let mut platform = Box::new(Platform::new());
        assert_eq!(platform.device_id(0, 0x18), Some(0x18), "nothing is said of the segment");
        platform.msi_maps.push(MsiMap::new(0, 0x100, 0x100, 0x5000).unwrap());
        platform.msi_maps.push(MsiMap::new(1, 0, 0x1_0000, 0).unwrap());
        for (segment, requester, expected) in [
            (0, 0x100, Some(0x5000)),
            (0, 0x1ff, Some(0x50ff)),
            (0, 0x200, None),
            (0, 0xff, None),
            (1, 0xffff, Some(0xffff)),
        ] {
            assert_eq!(platform.device_id(segment, requester), expected);
        }
    }

    #[test]
    fn maps_that_do_not_fit_are_none() {
        assert_eq!(MsiMap::new(0, 1, 0, 0), None);
        assert_eq!(MsiMap::new(0, u32::MAX, 2, 0), None);
        assert_eq!(MsiMap::new(0, 0, 2, u32::MAX), None);
        assert!(MsiMap::new(0, u32::MAX, 1, u32::MAX).is_some());
    }

    #[test]
    fn lines_are_found_by_what_counts_of_the_address() {
        let mut platform = Box::new(Platform::new());
        let interrupt = Interrupt { intid: 36, trigger: Trigger::Level };
        let line = PciLine { segment: 0, address: 0x800, pin: 1, address_mask: 0x1800, pin_mask: 7, interrupt };
        platform.pci_lines.push(line);
        assert_eq!(platform.pci_line(0, 5 << 11, 1), Some(interrupt), "device 5 is as device 1");
        for (segment, address, pin) in [(0, 5 << 11, 2), (0, 4 << 11, 1), (1, 5 << 11, 1)] {
            assert_eq!(platform.pci_line(segment, address, pin), None);
        }
    }

    proptest! {
        #[test]
        fn a_map_after_a_map_is_both(
            a in (0_u32..50, 1_u32..50, 0_u32..50), b in (0_u32..50, 1_u32..50, 0_u32..50), id in 0_u32..120
        ) {
            let map = |(first, count, output)| MsiMap::new(3, first, count, output).unwrap();
            let apply = |map: &MsiMap, id: u32| (map.first..=map.last).contains(&id).then(|| map.output + id - map.first);
            let (first, second) = (map(a), map(b));
            let both = first.then(&second).and_then(|both| apply(&both, id));
            prop_assert_eq!(both, apply(&first, id).and_then(|id| apply(&second, id)));
        }
    }
}

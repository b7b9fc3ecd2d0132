//! `msi-map` and `interrupt-map` of a PCI host bridge (Devicetree Specification 0.4, 2.4.3; kernel.org bindings `pci-msi`, `pci`).

use super::{cells, interrupt_cells, number, property};
use crate::{MsiMap, PciLine, Platform, push};
use dtoolkit::Node;
use dtoolkit::fdt::FdtNode;

/// A map with more entries is not believed.
const LINES_MAX: usize = 4096;

impl Platform {
    /// Reads how the interrupts of a bridge's functions go.
    pub(super) fn read_routes(&mut self, root: &FdtNode<'_>, bridge: &FdtNode<'_>, segment: u16) {
        // Requester ID, controller, device ID, count.
        for entry in property(bridge, "msi-map").unwrap_or_default().as_chunks::<16>().0 {
            let [first, _, output, count] = entry.as_chunks::<4>().0 else { continue };
            let [first, output, count] = [first, output, count].map(|cell| u32::from_be_bytes(*cell));
            match MsiMap::new(segment, first, count, output) {
                Some(map) => push(&mut self.msi_maps, &mut self.ignored, map),
                None => self.ignored = self.ignored.saturating_add(1),
            }
        }
        if self.read_lines(root, bridge, segment).is_none() {
            self.ignored = self.ignored.saturating_add(1);
        }
    }

    /// An entry: the function's address (three cells) and pin, the controller, its unit address (as many cells as it says), and what it
    /// takes for an interrupt (a GIC: three cells). `None`: an entry makes no sense.
    fn read_lines(&mut self, root: &FdtNode<'_>, bridge: &FdtNode<'_>, segment: u16) -> Option<()> {
        let Some(map) = property(bridge, "interrupt-map") else { return Some(()) };
        let (masks, _) = property(bridge, "interrupt-map-mask")?.as_chunks::<4>();
        let [address_mask, _, _, pin_mask] = masks else { return None };
        let [address_mask, pin_mask] = [address_mask, pin_mask].map(|mask| u32::from_be_bytes(*mask));
        let mut cells = cells(map);
        for _ in 0..LINES_MAX {
            let Some(address) = cells.next() else { return Some(()) };
            let (pin, controller) = (cells.nth(2)?, cells.next()?);
            let unit_cells = controller_address_cells(root, controller)?;
            for _ in 0..unit_cells {
                cells.next()?;
            }
            let interrupt = interrupt_cells(&mut cells)?;
            let line = PciLine { segment, address, pin, address_mask, pin_mask, interrupt };
            push(&mut self.pci_lines, &mut self.ignored, line);
        }
        None
    }
}

/// `#address-cells` of the interrupt controller with this phandle.
fn controller_address_cells(root: &FdtNode<'_>, phandle: u32) -> Option<u32> {
    let is_it = |node: &FdtNode<'_>| property(node, "phandle").and_then(number) == Some(phandle.into());
    let controller = root.children().find(is_it)?;
    let cells = property(&controller, "#address-cells").and_then(number).unwrap_or(0);
    u32::try_from(cells).ok().filter(|cells| *cells <= 4)
}

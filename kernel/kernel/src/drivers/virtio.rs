//! virtio devices over both transports: found here, driven elsewhere.

use alloc::boxed::Box;
use alloc::sync::Arc;

use pci::{Address, ConfigAccess, Function};
use virtio::mmio::Mmio as MmioTransport;
use virtio::pci::{ConfigSpace, Pci as PciTransport};
use virtio::{Error, Transport, device_type};

use super::mmio::Mmio;
use super::pci::HostBridge;
use super::wires::Place;
use super::{block, rng};
use crate::event;

/// A transport that a driver and its interrupt handler share.
pub type SharedTransport = Arc<dyn Transport + Send + Sync>;

/// The bus that a device is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// virtio-mmio.
    Mmio,
    /// virtio-pci.
    Pci,
}

const PAGE: u64 = 4096;
/// A longer piece of a BAR is not mapped: QEMU's longest, the notification area of 1024 queues, has 4 MiB.
const PIECE_LENGTH_MAX: u32 = 16 << 20;

/// Look into every virtio-mmio slot.
pub fn probe_mmio() {
    let mut page: Option<(u64, Mmio)> = None;
    for slot in &crate::platform::get().virtio_mmio {
        let base = slot.registers.base;
        let first = base & !(PAGE - 1);
        // QEMU puts eight slots on a page.
        let window = match page {
            Some((mapped, window)) if mapped == first => Some(window),
            _ => Mmio::map(first, PAGE),
        };
        page = window.map(|window| (first, window));
        let registers = window.and_then(|window| window.part((base - first) as usize, slot.registers.length as usize));
        let Some(registers) = registers else {
            continue;
        };
        match MmioTransport::probe(registers) {
            Ok(Some(device)) => drive(Box::new(device), Way::Mmio, Place::Line(slot.interrupt)),
            Ok(None) => {}
            Err(error) => event!("virtio.error", what = format_args!("mmio slot at {base:#x}"), why = error),
        }
    }
}

/// A PCI function of vendor [`virtio::pci::VENDOR`].
pub fn probe_pci(bridge: &HostBridge, function: &Function) {
    let Some(kind) = virtio::pci::device_type(function.device).filter(|_| function.vendor == virtio::pci::VENDOR)
    else {
        return;
    };
    match pci_transport(bridge, function, kind) {
        Ok(device) => drive(Box::new(device), Way::Pci, Place::Function(bridge, function)),
        Err(error) => event!("virtio.error", what = function.address, why = error),
    }
}

/// A function's configuration space as the capability walk reads it.
struct FunctionConfig<'a> {
    bridge: &'a HostBridge,
    address: Address,
}

impl ConfigSpace for FunctionConfig<'_> {
    fn read32(&self, offset: u8) -> u32 {
        self.bridge.read32(self.address, offset.into())
    }
}

fn pci_transport(bridge: &HostBridge, function: &Function, kind: u32) -> Result<PciTransport<Mmio>, Error> {
    let address = function.address;
    let capabilities = virtio::pci::capabilities(&FunctionConfig { bridge, address })?;
    pci::enable(bridge, address);
    let window = |piece: virtio::pci::Piece| {
        let bar = function.bars.get(usize::from(piece.bar)).and_then(Option::as_ref);
        bar.filter(|_| piece.length <= PIECE_LENGTH_MAX)
            .and_then(|bar| bridge.map_bar(bar, piece.offset.into(), piece.length.into()))
    };
    PciTransport::new(kind, &capabilities, window).ok_or(Error::Capability("BAR"))
}

fn drive(device: Box<dyn Transport + Send + Sync>, way: Way, place: Place<'_>) {
    match device.device_type() {
        device_type::ENTROPY => rng::start(device, way),
        device_type::BLOCK => block::start_blk(device.into(), way, place),
        device_type::SCSI => block::start_scsi(device.into(), way, place),
        _ => {}
    }
}

//! A watchdog for the boot: an i6300esb is started before the jump, so that a kernel that hangs ends in a reset. The kernel's driver takes
//! it over, and gives it to who opens `/dev/watchdog`.

use core::cell::RefCell;

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol, SearchType};
use uefi::proto::pci::PciIoAddress;
use uefi::proto::pci::root_bridge::PciRootBridgeIo;
use uefi::{Handle, Identify};
use watchdog::TIMEOUT;
use watchdog::esb::{self, Esb, Registers};

use crate::console::event;

/// Configuration header (PCI Local Bus Specification 3.0, 6.1): identity, command with its bit for memory, the first BAR with the bits
/// that are no address.
const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const COMMAND_MEMORY: u16 = 1 << 1;
const BAR: u8 = 0x10;
const BAR_FLAGS: u32 = 0xf;

/// The device, by the firmware's access to its root bridge (UEFI 2.10, 14.2).
struct Function {
    bridge: RefCell<ScopedProtocol<PciRootBridgeIo>>,
    address: PciIoAddress,
    base: u64,
}

/// Starts the first i6300esb that is found. None: the machine boots without.
pub fn arm() {
    let Some(device) = device() else { return };
    device.start(TIMEOUT);
    if device.is_running() {
        event!("loader.watchdog", driver = "i6300esb", timeout = TIMEOUT);
    } else {
        event!("loader.error", what = "watchdog", where = "i6300esb", why = "it does not start");
    }
}

/// Stops it: what it was to watch over has come back.
pub fn disarm() {
    if let Some(device) = device() {
        device.stop();
    }
}

fn device() -> Option<Esb<Function>> {
    let handles = boot::locate_handle_buffer(SearchType::ByProtocol(&PciRootBridgeIo::GUID)).ok()?;
    handles.iter().copied().find_map(find).map(Esb::new)
}

fn find(handle: Handle) -> Option<Function> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: beside the firmware's PCI driver, whose devices stay as they are but for this one, which no other driver has.
    let mut bridge =
        unsafe { boot::open_protocol::<PciRootBridgeIo>(params, OpenProtocolAttributes::GetProtocol) }.ok()?;
    let tree = bridge.enumerate().ok()?;
    let wanted = u32::from(esb::DEVICE) << 16 | u32::from(esb::VENDOR);
    let is_wanted = |address: &PciIoAddress| bridge.pci().read_one(address.with_register(ID)) == Ok(wanted);
    let address = tree.iter().copied().find(is_wanted)?;
    let bar: u32 = bridge.pci().read_one(address.with_register(BAR)).ok()?;
    let base = u64::from(bar & !BAR_FLAGS);
    if base == 0 {
        return None;
    }
    let command: u16 = bridge.pci().read_one(address.with_register(COMMAND)).ok()?;
    bridge.pci().write_one(address.with_register(COMMAND), command | COMMAND_MEMORY).ok()?;
    Some(Function { bridge: RefCell::new(bridge), address, base })
}

/// An access that fails is one that the device does not answer: [`Esb::is_running`] then says so.
impl Registers for Function {
    fn config_read8(&self, offset: u16) -> u8 {
        self.bridge.borrow_mut().pci().read_one(self.address.with_register(offset as u8)).unwrap_or(0)
    }
    fn config_write8(&self, offset: u16, value: u8) {
        let _ = self.bridge.borrow_mut().pci().write_one(self.address.with_register(offset as u8), value);
    }
    fn config_write16(&self, offset: u16, value: u16) {
        let _ = self.bridge.borrow_mut().pci().write_one(self.address.with_register(offset as u8), value);
    }
    fn read16(&self, offset: usize) -> u16 {
        self.bridge.borrow_mut().memory().read_one(self.base + offset as u64).unwrap_or(0)
    }
    fn write16(&self, offset: usize, value: u16) {
        let _ = self.bridge.borrow_mut().memory().write_one(self.base + offset as u64, value);
    }
    fn write32(&self, offset: usize, value: u32) {
        let _ = self.bridge.borrow_mut().memory().write_one(self.base + offset as u64, value);
    }
}

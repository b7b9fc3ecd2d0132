//! A program that crashes under the firmware: its own handler of exceptions stops the machine for good. While a loader is tried, ours restarts it instead.

use core::ffi::c_void;

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::unsafe_protocol;
use uefi::runtime::{self, ResetType};
use uefi::{Handle, Status};

/// What the firmware's own core asks of a processor (UEFI PI 1.7, volume 2, section 12.3).
#[repr(C)]
#[unsafe_protocol("26baccb1-6f42-11d4-bce7-0080c73c8881")]
struct CpuArch {
    others: [*const c_void; 5],
    register_interrupt_handler: unsafe extern "efiapi" fn(*const Self, isize, Option<Handler>) -> Status,
}

type Handler = unsafe extern "efiapi" fn(isize, *const c_void);

/// EXCEPT_AARCH64_SYNCHRONOUS_EXCEPTIONS and EXCEPT_AARCH64_SERROR (UEFI 2.10, section 18.2.4).
const EXCEPTIONS: [isize; 2] = [0, 3];

/// Exceptions restart the machine until this is dropped, as far as the firmware allows it: where it does not, an i6300esb does.
pub struct Faults(Option<ScopedProtocol<CpuArch>>);

impl Faults {
    /// From now on.
    pub fn restart() -> Self {
        let cpu = boot::get_handle_for_protocol::<CpuArch>().and_then(open).ok();
        let faults = Self(cpu);
        faults.set(Some(restart));
        faults
    }

    fn set(&self, handler: Option<Handler>) {
        let Some(cpu) = &self.0 else { return };
        let cpu: *const CpuArch = &raw const **cpu;
        for exception in EXCEPTIONS {
            // SAFETY: the protocol's own function with the protocol itself; the handler is code of this image, which stays as long as it is set.
            let _ = unsafe { ((*cpu).register_interrupt_handler)(cpu, exception, handler) };
        }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.set(None);
    }
}

fn open(handle: Handle) -> uefi::Result<ScopedProtocol<CpuArch>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: beside the firmware's core, which never removes it.
    unsafe { boot::open_protocol(params, OpenProtocolAttributes::GetProtocol) }
}

/// Nothing is printed: the console may be what crashed.
unsafe extern "efiapi" fn restart(_: isize, _: *const c_void) {
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}

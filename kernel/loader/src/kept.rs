//! The variable in which the firmware keeps floors. It has no runtime access: once the boot services are gone nobody reads or writes it.

use bootplan::kept::{Kept, LENGTH};
use release::trust::Roots;
use uefi::runtime::{VariableAttributes, VariableVendor, get_variable, set_variable};
use uefi::{CStr16, Status, cstr16, guid};

use crate::console::event;

const NAME: &CStr16 = cstr16!("SwiftOsFloors");
/// This variable's alone (docs/formats/bootctl.md).
const VENDOR: VariableVendor = VariableVendor(guid!("6d1f5f0e-9c1b-4c0e-8f57-2f0a6c8d1b43"));
const ATTRIBUTES: VariableAttributes = VariableAttributes::NON_VOLATILE.union(VariableAttributes::BOOTSERVICE_ACCESS);

/// What is kept for these roots. One that has other attributes was made by somebody else.
pub fn read(roots: &Roots<'_>) -> Kept {
    let mut value = [0; LENGTH];
    match get_variable(NAME, &VENDOR, &mut value) {
        Ok((value, ATTRIBUTES)) => Kept::parse(value, &roots.digest()),
        Err(error) if error.status() != Status::NOT_FOUND => {
            event!("loader.error", what = "floors", where = "firmware", why = error.status());
            Kept::default()
        }
        _ => Kept::default(),
    }
}

/// Keeps these. A firmware that keeps nothing leaves the floors to the boot-control block.
pub fn write(keep: &Kept, roots: &Roots<'_>) {
    match set_variable(NAME, &VENDOR, ATTRIBUTES, &keep.encode(&roots.digest())) {
        Ok(()) => {
            event!("loader.kept", floor = keep.rollback, key_set = keep.key_set, loader = keep.loader);
        }
        Err(error) => event!("loader.error", what = "floors", where = "firmware", why = error.status()),
    }
}

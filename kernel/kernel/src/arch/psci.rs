//! PSCI (Arm DEN 0022) calls, by the conduit that the firmware's tables name.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

use platform::Conduit;

const CPU_ON: u32 = 0xc400_0003;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
/// What PSCI itself answers to a function that it lacks; also what we answer where there is no PSCI.
const NOT_SUPPORTED: i64 = -1;

/// How the firmware is called on a machine whose tables were read no further: 0 not known, 1 hvc, 2 smc.
static REMEMBERED: AtomicU8 = AtomicU8::new(0);

/// Keeps the conduit for a panic that ends the reading of the tables.
pub fn remember(conduit: Conduit) {
    let number = match conduit {
        Conduit::Hvc => 1,
        Conduit::Smc => 2,
    };
    REMEMBERED.store(number, Ordering::Relaxed);
}

fn conduit() -> Option<Conduit> {
    match crate::platform::try_get() {
        Some(platform) => platform.psci.map(|psci| psci.conduit),
        None => match REMEMBERED.load(Ordering::Relaxed) {
            1 => Some(Conduit::Hvc),
            2 => Some(Conduit::Smc),
            _ => None,
        },
    }
}

/// Whether the firmware can be called at all, as far as the tables were read.
#[must_use]
pub fn is_known() -> bool {
    conduit().is_some()
}

/// SMC Calling Convention (Arm DEN 0028), a fast call with three arguments.
fn call(function: u32, arguments: [u64; 3]) -> i64 {
    let Some(way) = conduit() else { return NOT_SUPPORTED };
    let [first, second, third] = arguments;
    let mut result = u64::from(function);
    macro_rules! conduit {
        ($instruction:literal) => {
            // SAFETY: a PSCI call by the described conduit; the convention preserves all but x0 to x17. Memory may be read by
            // the CPU that CPU_ON starts: hence not `nomem`.
            unsafe {
                asm!($instruction, inout("x0") result, inout("x1") first => _, inout("x2") second => _, inout("x3") third => _,
                    out("x4") _, out("x5") _, out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _, out("x11") _,
                    out("x12") _, out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _, options(nostack))
            }
        };
    }
    match way {
        Conduit::Hvc => conduit!("hvc #0"),
        Conduit::Smc => conduit!("smc #0"),
    }
    // Results are 32-bit; SMC64 functions sign-extend theirs, SMC32 ones need not.
    i64::from(result as i32)
}

/// Starts the CPU with these affinity fields at the physical address `entry_physical`, MMU off, with `argument` in x0.
///
/// # Errors
/// The firmware's negative answer (DEN 0022, 5.2.2).
pub fn cpu_on(mpidr: u64, entry_physical: u64, argument: u64) -> Result<(), i64> {
    match call(CPU_ON, [mpidr, entry_physical, argument]) {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Turns the machine off. Returns only where the firmware cannot.
pub fn system_off() {
    call(SYSTEM_OFF, [0; 3]);
}

/// Restarts the machine. Returns only where the firmware cannot.
pub fn system_reset() {
    call(SYSTEM_RESET, [0; 3]);
}

//! Everything that knows it is an AArch64: portable code never names a register.

pub mod backtrace;
pub mod cpu;
pub mod entry;
pub mod fp;
pub mod gicv3;
pub mod idreg;
pub mod irq;
pub mod mmu;
pub mod psci;
pub mod rndr;
pub mod smp;
pub mod sysreg;
pub mod thread;
pub mod timer;
pub mod trap;
pub mod user;
pub mod vdso;
pub mod vectors;

// What the compiler makes calls of.
use memops as _;

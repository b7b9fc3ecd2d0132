//! Everything that knows it is an AArch64: portable code never names a register.

pub mod cpu;
pub mod entry;
pub mod mmu;
pub mod sysreg;
pub mod timer;

//! System registers by name.

/// Reads a system register.
macro_rules! read {
    ($name:ident) => {{
        let value: u64;
        // SAFETY: reading a system register that exists at EL1 changes nothing. `volatile` (no `pure`) keeps the order.
        unsafe { core::arch::asm!(concat!("mrs {}, ", stringify!($name)), out(reg) value, options(nomem, nostack)) };
        value
    }};
}

/// Writes a system register. The caller says in a `SAFETY` line why the value is right.
macro_rules! write {
    ($name:ident, $value:expr) => {
        core::arch::asm!(concat!("msr ", stringify!($name), ", {}"), in(reg) $value as u64, options(nostack))
    };
}

pub(crate) use {read, write};

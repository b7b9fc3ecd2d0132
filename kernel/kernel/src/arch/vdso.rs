//! The clocks of the vDSO: code that runs in programs, in the page that every one of them gets (crate `linux`, module `vdso`), so that telling the time is
//! no system call. What `process::time` and `clock` compute is computed here in the same way, to the nanosecond.
//!
//! The page before the code's (`[vvar]`) holds, in its first eight bytes, the nanoseconds from 1970 to power-on: one word, so a single load sees it
//! whole. A clock that is not here, and any other error, is left to the system call. `tests/integration/test_kernel_vdso.py` runs the same file as a program.

core::arch::global_asm!(include_str!("vdso.s"));

unsafe extern "C" {
    static vdso_clock_gettime: u32;
    static vdso_gettimeofday: u32;
    static vdso_clock_getres: u32;
    static vdso_end: u32;
}

const _: () = assert!(linux::nr::CLOCK_GETTIME == 113 && linux::nr::CLOCK_GETRES == 114);

/// The instructions of `clock_gettime`, `gettimeofday` and `clock_getres`.
#[must_use]
pub fn code() -> [&'static [u32]; 3] {
    let marks = [
        &raw const vdso_clock_gettime,
        &raw const vdso_gettimeofday,
        &raw const vdso_clock_getres,
        &raw const vdso_end,
    ];
    core::array::from_fn(|index| {
        let (start, end) = (marks[index], marks[index + 1]);
        let words = (end.addr() - start.addr()) / size_of::<u32>();
        // SAFETY: the assembly above stands between these marks in this order: aligned words of the kernel's read-only data.
        unsafe { core::slice::from_raw_parts(start, words) }
    })
}

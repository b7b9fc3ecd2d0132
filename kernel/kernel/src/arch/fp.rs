//! Floating-point and vector registers. The kernel itself uses none (the target has no FP), so they stay a thread's until another
//! thread needs them.

/// All that EL0 can see of FP and SIMD.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FpState {
    /// v0 to v31.
    pub v: [u128; 32],
    /// FPSR.
    pub status: u64,
    /// FPCR.
    pub control: u64,
}

core::arch::global_asm!(
    r#"
.section .text
.arch_extension fp
.arch_extension simd
.global fp_save
fp_save:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    mrs     x1, fpsr
    mrs     x2, fpcr
    str     x1, [x0, #512]
    str     x2, [x0, #520]
    ret
.global fp_load
fp_load:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    ldr     x1, [x0, #512]
    ldr     x2, [x0, #520]
    msr     fpsr, x1
    msr     fpcr, x2
    ret
"#
);

const _: () = assert!(core::mem::offset_of!(FpState, control) == 520);

unsafe extern "C" {
    fn fp_save(state: *mut FpState);
    fn fp_load(state: *const FpState);
}

/// Lets EL0 and EL1 use the registers (CPACR_EL1.FPEN).
pub fn enable() {
    // SAFETY: the kernel has no FP code, so nothing changes for it; SVE and SME stay trapped.
    unsafe {
        super::sysreg::write!(CPACR_EL1, 3 << 20);
        core::arch::asm!("isb", options(nomem, nostack));
    }
}

/// The registers as they are.
pub fn save(state: &mut FpState) {
    // SAFETY: writable and of the layout that the code has.
    unsafe { fp_save(state) };
}

/// Sets the registers.
pub fn load(state: &FpState) {
    // SAFETY: readable and of the layout that the code has.
    unsafe { fp_load(state) };
}

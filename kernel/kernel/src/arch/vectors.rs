//! Exception vectors (Arm ARM, D1.3.1): save everything, call `trap`, restore everything.
//!
//! A valid kernel stack pointer has bit 14 set (`mm::stack`): an exception that finds it clear has run into the guard below a stack, and
//! goes on on an emergency stack to say so.

use super::trap;

core::arch::global_asm!(
    r#"
.set FRAME, 272

.macro save_general
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
.endm

.macro restore_general
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
.endm

// The stack pointer tells whether it is valid, and no register is free: do sums in sp and x0 until one is.
.macro kernel_vector target
.balign 128
    sub     sp, sp, #FRAME
    add     sp, sp, x0
    sub     x0, sp, x0
    tbz     x0, #14, 9f
    sub     x0, sp, x0
    sub     sp, sp, x0
    b       \target
9:  b       stack_overflow
.endm

.macro user_vector target
.balign 128
    sub     sp, sp, #FRAME
    b       \target
.endm

.macro no_vector
.balign 128
    b       .
.endm

.section .vectors, "ax"
.balign 2048
.global exception_vectors
exception_vectors:
    no_vector                       // current EL with SP_EL0: never used
    no_vector
    no_vector
    no_vector
    kernel_vector kernel_sync
    kernel_vector kernel_irq
    kernel_vector kernel_fiq
    kernel_vector kernel_serror
    user_vector user_sync
    user_vector user_irq
    user_vector user_fiq
    user_vector user_serror
    no_vector                       // AArch32: no 32-bit program is ever started
    no_vector
    no_vector
    no_vector

.macro kernel_handler name, handler
\name:
    save_general
    add     x21, sp, #FRAME
    mrs     x22, elr_el1
    mrs     x23, spsr_el1
    stp     x30, x21, [sp, #240]
    stp     x22, x23, [sp, #256]
    mov     x0, sp
    bl      \handler
    ldp     x22, x23, [sp, #256]
    msr     elr_el1, x22
    msr     spsr_el1, x23
    restore_general
    add     sp, sp, #FRAME
    eret
.endm

.macro user_handler name, handler
\name:
    save_general
    mrs     x21, sp_el0
    mrs     x22, elr_el1
    mrs     x23, spsr_el1
    stp     x30, x21, [sp, #240]
    stp     x22, x23, [sp, #256]
    mov     x29, #0
    mov     x30, #0
    mov     x0, sp
    bl      \handler
    b       return_to_user
.endm

.section .text
    kernel_handler kernel_sync, {kernel_sync}
    kernel_handler kernel_irq, {kernel_irq}
    kernel_handler kernel_fiq, {kernel_fiq}
    kernel_handler kernel_serror, {kernel_serror}
    user_handler user_sync, {user_sync}
    user_handler user_irq, {user_irq}
    user_handler user_fiq, {user_fiq}
    user_handler user_serror, {user_serror}

// sp points to the frame; interrupts are masked.
.global return_to_user
return_to_user:
    ldp     x21, x22, [sp, #248]
    ldr     x23, [sp, #264]
    msr     sp_el0, x21
    msr     elr_el1, x22
    msr     spsr_el1, x23
    restore_general
    add     sp, sp, #FRAME
    eret

// x0 = the value of sp that the vector wanted to use; sp = garbage.
stack_overflow:
    msr     tpidrro_el0, x0
    adrp    x0, emergency_stack_top
    add     x0, x0, :lo12:emergency_stack_top
    mov     sp, x0
    mrs     x0, tpidrro_el0
    b       {overflow}

.section .bss
.balign 16
    .skip   8192
emergency_stack_top:
.section .text
"#,
    kernel_sync = sym trap::kernel_sync,
    kernel_irq = sym trap::kernel_irq,
    kernel_fiq = sym trap::kernel_fiq,
    kernel_serror = sym trap::kernel_serror,
    user_sync = sym trap::user_sync,
    user_irq = sym trap::user_irq,
    user_fiq = sym trap::user_fiq,
    user_serror = sym trap::user_serror,
    overflow = sym trap::kernel_stack_overflow,
);

unsafe extern "C" {
    static exception_vectors: u8;
}

/// Makes this CPU use the vectors.
pub fn install() {
    // SAFETY: the address of a complete vector table, aligned to 2 KiB.
    unsafe { super::sysreg::write!(VBAR_EL1, &raw const exception_vectors) };
    // SAFETY: barrier only.
    unsafe { core::arch::asm!("isb", options(nomem, nostack)) };
}

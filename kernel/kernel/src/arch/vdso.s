// clock_gettime, gettimeofday and clock_getres of the vDSO: each a function of its own, which runs anywhere in the page of code and finds the page of data
// before that. General registers that a call may change only (AAPCS64, 6.1.1).

.section .rodata
.balign 4
// Nanoseconds per second.
.macro  BILLION register
    mov     \register, #0xca00
    movk    \register, #0x3b9a, lsl #16
.endm
// x7, x8 = seconds and nanoseconds since power-on; x6 = a billion. Changes x4, x5.
.macro  SINCE_POWER_ON
    isb
    mrs     x4, cntvct_el0
    mrs     x5, cntfrq_el0
    BILLION x6
    udiv    x7, x4, x5
    msub    x8, x7, x5, x4
    mul     x8, x8, x6
    udiv    x8, x8, x5
.endm
// x7, x8 = seconds and nanoseconds since 1970, from those since power-on. Changes x9, x10.
.macro  SINCE_1970
    adr     x9, .
    and     x9, x9, #~0xfff
    sub     x9, x9, #1, lsl #12
    ldr     x10, [x9]
    madd    x8, x7, x6, x8
    add     x8, x8, x10
    udiv    x7, x8, x6
    msub    x8, x7, x6, x8
.endm

// w0 = clock, x1 = timespec.
.global vdso_clock_gettime
vdso_clock_gettime:
    cmp     w0, #7              // CLOCK_BOOTTIME, the highest
    b.hi    2f
    mov     w2, #1
    lsl     w2, w2, w0
    mov     w3, #0x21           // CLOCK_REALTIME, CLOCK_REALTIME_COARSE
    tst     w2, w3
    b.ne    1f
    mov     w3, #0xd2           // CLOCK_MONOTONIC, its RAW and COARSE, CLOCK_BOOTTIME
    tst     w2, w3
    b.eq    2f
    SINCE_POWER_ON
    stp     x7, x8, [x1]
    mov     w0, #0
    ret
1:  SINCE_POWER_ON
    SINCE_1970
    stp     x7, x8, [x1]
    mov     w0, #0
    ret
2:  mov     x8, #113
    svc     #0
    ret

// x0 = timeval or 0, x1 = time zone or 0.
.global vdso_gettimeofday
vdso_gettimeofday:
    cbz     x0, 1f
    SINCE_POWER_ON
    SINCE_1970
    mov     x9, #1000
    udiv    x8, x8, x9
    stp     x7, x8, [x0]
1:  cbz     x1, 2f
    str     xzr, [x1]
2:  mov     w0, #0
    ret

// w0 = clock, x1 = timespec or 0.
.global vdso_clock_getres
vdso_clock_getres:
    cmp     w0, #7
    b.hi    2f
    mov     w2, #1
    lsl     w2, w2, w0
    mov     w3, #0xf3
    tst     w2, w3
    b.eq    2f
    cbz     x1, 1f
    mov     x3, #1
    stp     xzr, x3, [x1]
1:  mov     w0, #0
    ret
2:  mov     x8, #114
    svc     #0
    ret
.global vdso_end
vdso_end:

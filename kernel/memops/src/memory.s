// memcpy, memmove, memset, memcmp and bcmp, which the compiler calls (C17, 7.24), in place of the byte loops that come with it. Normal memory only: they
// load and store without regard to alignment. General registers only: the kernel leaves the vector registers to programs.
//
// A copy of up to 64 bytes is loaded whole before any of it is stored. Longer ones go in pieces of 64 bytes, and the rest is the 64 bytes
// that end where the copy ends, which may overlap what was copied already.

.text
.balign 16
// x0 = destination, which is returned; x1 = source; x2 = bytes. The two do not overlap.
.global memcpy
memcpy:
    cmp     x2, #16
    b.lo    copy_below_16
    add     x4, x1, x2
    add     x5, x0, x2
    cmp     x2, #64
    b.ls    copy_to_64
    mov     x3, x0
    sub     x2, x2, #64
1:  ldp     x6, x7, [x1]
    ldp     x8, x9, [x1, #16]
    ldp     x10, x11, [x1, #32]
    ldp     x12, x13, [x1, #48]
    add     x1, x1, #64
    stp     x6, x7, [x3]
    stp     x8, x9, [x3, #16]
    stp     x10, x11, [x3, #32]
    stp     x12, x13, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hi    1b
    ldp     x6, x7, [x4, #-64]
    ldp     x8, x9, [x4, #-48]
    ldp     x10, x11, [x4, #-32]
    ldp     x12, x13, [x4, #-16]
    stp     x6, x7, [x5, #-64]
    stp     x8, x9, [x5, #-48]
    stp     x10, x11, [x5, #-32]
    stp     x12, x13, [x5, #-16]
    ret

// 16 to 64 bytes; x4, x5 = ends.
copy_to_64:
    ldp     x6, x7, [x1]
    ldp     x12, x13, [x4, #-16]
    cmp     x2, #32
    b.ls    1f
    ldp     x8, x9, [x1, #16]
    ldp     x10, x11, [x4, #-32]
    stp     x8, x9, [x0, #16]
    stp     x10, x11, [x5, #-32]
1:  stp     x6, x7, [x0]
    stp     x12, x13, [x5, #-16]
    ret

copy_below_16:
    add     x4, x1, x2
    add     x5, x0, x2
    tbz     x2, #3, 1f
    ldr     x6, [x1]
    ldr     x7, [x4, #-8]
    str     x6, [x0]
    str     x7, [x5, #-8]
    ret
1:  tbz     x2, #2, 2f
    ldr     w6, [x1]
    ldr     w7, [x4, #-4]
    str     w6, [x0]
    str     w7, [x5, #-4]
    ret
2:  cbz     x2, 3f
    // One, two or three bytes: the first, the middle one, the last.
    lsr     x8, x2, #1
    ldrb    w6, [x1]
    ldrb    w9, [x1, x8]
    ldrb    w7, [x4, #-1]
    strb    w6, [x0]
    strb    w9, [x0, x8]
    strb    w7, [x5, #-1]
3:  ret

.balign 16
// As memcpy, and the two may overlap.
.global memmove
memmove:
    cmp     x2, #64
    b.ls    memcpy
    // The destination begins inside the source: from the end downwards. Otherwise upwards, but the last 64 bytes are loaded first.
    sub     x6, x0, x1
    cmp     x6, x2
    b.lo    2f
    add     x4, x1, x2
    add     x5, x0, x2
    mov     x3, x0
    sub     x2, x2, #64
    ldp     x14, x15, [x4, #-64]
    ldp     x16, x17, [x4, #-48]
    stp     x19, x20, [sp, #-32]!
    stp     x21, x22, [sp, #16]
    ldp     x19, x20, [x4, #-32]
    ldp     x21, x22, [x4, #-16]
1:  ldp     x6, x7, [x1]
    ldp     x8, x9, [x1, #16]
    ldp     x10, x11, [x1, #32]
    ldp     x12, x13, [x1, #48]
    add     x1, x1, #64
    stp     x6, x7, [x3]
    stp     x8, x9, [x3, #16]
    stp     x10, x11, [x3, #32]
    stp     x12, x13, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hi    1b
    stp     x14, x15, [x5, #-64]
    stp     x16, x17, [x5, #-48]
    b       4f
2:  add     x4, x1, x2
    add     x5, x0, x2
    sub     x2, x2, #64
    ldp     x14, x15, [x1]
    ldp     x16, x17, [x1, #16]
    stp     x19, x20, [sp, #-32]!
    stp     x21, x22, [sp, #16]
    ldp     x19, x20, [x1, #32]
    ldp     x21, x22, [x1, #48]
3:  ldp     x6, x7, [x4, #-64]
    ldp     x8, x9, [x4, #-48]
    ldp     x10, x11, [x4, #-32]
    ldp     x12, x13, [x4, #-16]
    sub     x4, x4, #64
    stp     x6, x7, [x5, #-64]
    stp     x8, x9, [x5, #-48]
    stp     x10, x11, [x5, #-32]
    stp     x12, x13, [x5, #-16]
    sub     x5, x5, #64
    subs    x2, x2, #64
    b.hi    3b
    add     x5, x0, #64
    stp     x14, x15, [x5, #-64]
    stp     x16, x17, [x5, #-48]
4:  stp     x19, x20, [x5, #-32]
    stp     x21, x22, [x5, #-16]
    ldp     x21, x22, [sp, #16]
    ldp     x19, x20, [sp], #32
    ret

.balign 16
// x0 = destination, which is returned; w1 = byte; x2 = bytes.
.global memset
memset:
    and     x1, x1, #0xff
    mov     x6, #0x0101010101010101
    mul     x6, x1, x6
    add     x5, x0, x2
    cmp     x2, #16
    b.lo    3f
    cmp     x2, #64
    b.ls    2f
    mov     x3, x0
    sub     x2, x2, #64
1:  stp     x6, x6, [x3]
    stp     x6, x6, [x3, #16]
    stp     x6, x6, [x3, #32]
    stp     x6, x6, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hi    1b
    stp     x6, x6, [x5, #-64]
    stp     x6, x6, [x5, #-48]
    stp     x6, x6, [x5, #-32]
    stp     x6, x6, [x5, #-16]
    ret
2:  stp     x6, x6, [x0]
    stp     x6, x6, [x5, #-16]
    cmp     x2, #32
    b.ls    6f
    stp     x6, x6, [x0, #16]
    stp     x6, x6, [x5, #-32]
    ret
3:  tbz     x2, #3, 4f
    str     x6, [x0]
    str     x6, [x5, #-8]
    ret
4:  tbz     x2, #2, 5f
    str     w6, [x0]
    str     w6, [x5, #-4]
    ret
5:  cbz     x2, 6f
    lsr     x8, x2, #1
    strb    w6, [x0]
    strb    w6, [x0, x8]
    strb    w6, [x5, #-1]
6:  ret

.balign 16
// x0, x1 = what is compared; x2 = bytes. Negative, zero or positive, as the first byte that differs is smaller or larger.
.global memcmp
.global bcmp
memcmp:
bcmp:
    subs    x2, x2, #8
    b.lo    2f
1:  ldr     x3, [x0], #8
    ldr     x4, [x1], #8
    cmp     x3, x4
    b.ne    4f
    subs    x2, x2, #8
    b.hs    1b
2:  adds    x2, x2, #8
    b.eq    3f
    ldrb    w3, [x0], #1
    ldrb    w4, [x1], #1
    sub     x2, x2, #9
    subs    w5, w3, w4
    b.eq    2b
    mov     w0, w5
    ret
3:  mov     w0, #0
    ret
    // As big-endian numbers they compare as strings of bytes do.
4:  rev     x3, x3
    rev     x4, x4
    cmp     x3, x4
    mov     w0, #1
    cneg    w0, w0, lo
    ret

// void sha256_blocks(uint32_t state[8], const uint8_t *data, size_t count)
//
// The block function of SHA-256 (FIPS 180-4, section 6.2.2) with the instructions of FEAT_SHA256 (Arm ARM, C7.2), four rounds at a time.
// Takes `count` blocks of 64 bytes, at any address.
//
// The vector registers may be somebody else's: a kernel calls this while they hold a program's values. So each register that is
// used is put back, also those that a function call need not preserve; FPSR and FPCR are neither read nor written.
//
//   v0, v1   state                 v8    schedule plus constants        x0  state
//   v2, v3   state before          v9    v0 before the rounds           x1  data
//   v4-v7    schedule              v16-v31  constants                   x2  blocks left

.arch_extension fp
.arch_extension simd
.arch_extension sha2

.macro rounds_scheduled constants, now, second, third, fourth
    add     v8.4s, v\now\().4s, v\constants\().4s
    mov     v9.16b, v0.16b
    sha256su0 v\now\().4s, v\second\().4s
    sha256h q0, q1, v8.4s
    sha256h2 q1, q9, v8.4s
    sha256su1 v\now\().4s, v\third\().4s, v\fourth\().4s
.endm

.macro rounds_last constants, now
    add     v8.4s, v\now\().4s, v\constants\().4s
    mov     v9.16b, v0.16b
    sha256h q0, q1, v8.4s
    sha256h2 q1, q9, v8.4s
.endm

.global sha256_blocks
.balign 16
sha256_blocks:
    cbz     x2, 2f
    sub     sp, sp, #416
    stp     q0, q1, [sp, #0]
    stp     q2, q3, [sp, #32]
    stp     q4, q5, [sp, #64]
    stp     q6, q7, [sp, #96]
    stp     q8, q9, [sp, #128]
    stp     q16, q17, [sp, #160]
    stp     q18, q19, [sp, #192]
    stp     q20, q21, [sp, #224]
    stp     q22, q23, [sp, #256]
    stp     q24, q25, [sp, #288]
    stp     q26, q27, [sp, #320]
    stp     q28, q29, [sp, #352]
    stp     q30, q31, [sp, #384]
    adr     x3, 3f
    ld1     {v16.4s-v19.4s}, [x3], #64
    ld1     {v20.4s-v23.4s}, [x3], #64
    ld1     {v24.4s-v27.4s}, [x3], #64
    ld1     {v28.4s-v31.4s}, [x3]
    ld1     {v0.4s, v1.4s}, [x0]
1:
    ld1     {v4.16b-v7.16b}, [x1], #64
    mov     v2.16b, v0.16b
    mov     v3.16b, v1.16b
    rev32   v4.16b, v4.16b
    rev32   v5.16b, v5.16b
    rev32   v6.16b, v6.16b
    rev32   v7.16b, v7.16b
    rounds_scheduled 16, 4, 5, 6, 7
    rounds_scheduled 17, 5, 6, 7, 4
    rounds_scheduled 18, 6, 7, 4, 5
    rounds_scheduled 19, 7, 4, 5, 6
    rounds_scheduled 20, 4, 5, 6, 7
    rounds_scheduled 21, 5, 6, 7, 4
    rounds_scheduled 22, 6, 7, 4, 5
    rounds_scheduled 23, 7, 4, 5, 6
    rounds_scheduled 24, 4, 5, 6, 7
    rounds_scheduled 25, 5, 6, 7, 4
    rounds_scheduled 26, 6, 7, 4, 5
    rounds_scheduled 27, 7, 4, 5, 6
    rounds_last 28, 4
    rounds_last 29, 5
    rounds_last 30, 6
    rounds_last 31, 7
    add     v0.4s, v0.4s, v2.4s
    add     v1.4s, v1.4s, v3.4s
    sub     x2, x2, #1
    cbnz    x2, 1b
    st1     {v0.4s, v1.4s}, [x0]
    ldp     q0, q1, [sp, #0]
    ldp     q2, q3, [sp, #32]
    ldp     q4, q5, [sp, #64]
    ldp     q6, q7, [sp, #96]
    ldp     q8, q9, [sp, #128]
    ldp     q16, q17, [sp, #160]
    ldp     q18, q19, [sp, #192]
    ldp     q20, q21, [sp, #224]
    ldp     q22, q23, [sp, #256]
    ldp     q24, q25, [sp, #288]
    ldp     q26, q27, [sp, #320]
    ldp     q28, q29, [sp, #352]
    ldp     q30, q31, [sp, #384]
    add     sp, sp, #416
2:
    ret

// The constants (FIPS 180-4, section 4.2.2).
.balign 16
3:
    .word   0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5
    .word   0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174
    .word   0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da
    .word   0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967
    .word   0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85
    .word   0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070
    .word   0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3
    .word   0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2

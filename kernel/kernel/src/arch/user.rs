//! Copies between the kernel and a user's memory, with unprivileged loads and stores (LDTR, STTR; Arm ARM, C3.2.7): the hardware itself checks that the
//! user may do it, PAN or not, and no address of the kernel's can be reached. Neither side has to be aligned: this is Normal memory. A fault that cannot be resolved ends the copy.

core::arch::global_asm!(
    r#"
.section .text
// x0 = user source, x1 = kernel destination, x2 = bytes. Returns in x0 how many bytes were not copied.
.global user_copy_start
user_copy_start:
.global user_copy_in
user_copy_in:
    subs    x2, x2, #64
    b.lo    5f
1:  ldtr    x4, [x0]
    ldtr    x5, [x0, #8]
    ldtr    x6, [x0, #16]
    ldtr    x7, [x0, #24]
    ldtr    x8, [x0, #32]
    ldtr    x9, [x0, #40]
    ldtr    x10, [x0, #48]
    ldtr    x11, [x0, #56]
    stp     x4, x5, [x1]
    stp     x6, x7, [x1, #16]
    stp     x8, x9, [x1, #32]
    stp     x10, x11, [x1, #48]
    add     x0, x0, #64
    add     x1, x1, #64
    subs    x2, x2, #64
    b.hs    1b
5:  add     x2, x2, #64
4:  cmp     x2, #8
    b.lo    2f
    ldtr    x4, [x0]
    str     x4, [x1], #8
    add     x0, x0, #8
    sub     x2, x2, #8
    b       4b
2:  cbz     x2, 3f
    ldtrb   w4, [x0]
    strb    w4, [x1], #1
    add     x0, x0, #1
    sub     x2, x2, #1
    b       2b
3:  mov     x0, #0
    ret

// x0 = kernel source, x1 = user destination, x2 = bytes.
.global user_copy_out
user_copy_out:
    subs    x2, x2, #64
    b.lo    5f
1:  ldp     x4, x5, [x0]
    ldp     x6, x7, [x0, #16]
    ldp     x8, x9, [x0, #32]
    ldp     x10, x11, [x0, #48]
    sttr    x4, [x1]
    sttr    x5, [x1, #8]
    sttr    x6, [x1, #16]
    sttr    x7, [x1, #24]
    sttr    x8, [x1, #32]
    sttr    x9, [x1, #40]
    sttr    x10, [x1, #48]
    sttr    x11, [x1, #56]
    add     x0, x0, #64
    add     x1, x1, #64
    subs    x2, x2, #64
    b.hs    1b
5:  add     x2, x2, #64
4:  cmp     x2, #8
    b.lo    2f
    ldr     x4, [x0], #8
    sttr    x4, [x1]
    add     x1, x1, #8
    sub     x2, x2, #8
    b       4b
2:  cbz     x2, 3f
    ldrb    w4, [x0], #1
    sttrb   w4, [x1]
    add     x1, x1, #1
    sub     x2, x2, #1
    b       2b
3:  mov     x0, #0
    ret

// x0 = user source of a string, x1 = kernel destination, x2 = bytes of room. Copies up to and including a zero. Returns bytes of room not used.
.global user_copy_string
user_copy_string:
1:  cbz     x2, 3f
    ldtrb   w4, [x0]
    add     x0, x0, #1
    strb    w4, [x1], #1
    sub     x2, x2, #1
    cbnz    w4, 1b
3:  mov     x0, x2
    ret

// x0 = user source, aligned to 4. Returns the word, or all ones.
.global user_load_word
user_load_word:
    ldtr    w0, [x0]
    ret

.global user_copy_end
user_copy_end:
    // A fault in any of the above comes here.
    mov     x0, #-1
    ret
"#
);

unsafe extern "C" {
    fn user_copy_in(from: u64, to: *mut u8, length: usize) -> usize;
    fn user_copy_out(from: *const u8, to: u64, length: usize) -> usize;
    fn user_copy_string(from: u64, to: *mut u8, room: usize) -> usize;
    fn user_load_word(from: u64) -> u64;
    static user_copy_start: u8;
    static user_copy_end: u8;
}

/// What the copies return after a fault.
const FAULTED: usize = usize::MAX;

/// Where a fault at `pc` goes on, when it is one of these copies.
#[must_use]
pub fn recovery(pc: u64) -> Option<u64> {
    let (start, end) = (&raw const user_copy_start as u64, &raw const user_copy_end as u64);
    (start..end).contains(&pc).then_some(end)
}

/// Copies from the user at `address`. False: part of it is not readable; some bytes may have been copied.
#[must_use]
pub fn copy_in(address: u64, bytes: &mut [u8]) -> bool {
    // SAFETY: `bytes` is writable for its length; the user's side is checked by the hardware, and faults are recovered from.
    unsafe { user_copy_in(address, bytes.as_mut_ptr(), bytes.len()) != FAULTED }
}

/// Copies to the user at `address`. False: part of it is not writable; some bytes may have been copied.
#[must_use]
pub fn copy_out(address: u64, bytes: &[u8]) -> bool {
    // SAFETY: as for `copy_in`.
    unsafe { user_copy_out(bytes.as_ptr(), address, bytes.len()) != FAULTED }
}

/// Copies a string that ends in a zero, at most `bytes.len()` bytes; gives its length without the zero. `Some(bytes.len())` when no zero was found; `None`:
/// not readable.
#[must_use]
pub fn copy_string(address: u64, bytes: &mut [u8]) -> Option<usize> {
    // SAFETY: as for `copy_in`.
    let room = unsafe { user_copy_string(address, bytes.as_mut_ptr(), bytes.len()) };
    if room == FAULTED {
        return None;
    }
    let copied = bytes.len() - room;
    Some(if copied > 0 && bytes[copied - 1] == 0 { copied - 1 } else { copied })
}

/// The word at `address`, read at once; `None`: not readable, or not aligned.
#[must_use]
pub fn load_word(address: u64) -> Option<u32> {
    if !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: as for `copy_in`.
    u32::try_from(unsafe { user_load_word(address) }).ok()
}

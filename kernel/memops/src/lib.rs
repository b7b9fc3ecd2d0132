#![no_std]
//! Copying, filling and comparing memory, for whatever the compiler makes calls of: in kernel, loader and programs, where the compiler's own take a byte or
//! a word at a time (an equal byte costs its `memcmp` six instructions). A program has them by naming this crate: `use memops as _;`.
//!
//! `tests/integration/test_kernel_memory.py` runs the same file as a program.

#[cfg(all(target_arch = "aarch64", any(target_os = "none", target_os = "uefi", swift_os)))]
core::arch::global_asm!(include_str!("memory.s"));

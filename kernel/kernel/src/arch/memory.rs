//! Copying, filling and comparing memory, for whatever the compiler makes calls of. `tests/integration/test_kernel_memory.py` runs the same file as a program.

core::arch::global_asm!(include_str!("memory.s"));

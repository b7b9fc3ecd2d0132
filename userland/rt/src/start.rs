//! From the kernel's first instruction to a program's `main(&[&CStr]) -> i32`.

use alloc::vec::Vec;
use core::ffi::CStr;

/// What a program's main function looks like: arguments in, exit status out.
pub type Main = fn(&[&'static CStr]) -> i32;

/// Makes a function the program's entry: `rt::entry!(run);`
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(swift_os)]
        // SAFETY: the one definition of this symbol in the program; `rt` declares it with the same type.
        #[unsafe(no_mangle)]
        extern "Rust" fn swift_main(arguments: &[&'static core::ffi::CStr]) -> i32 {
            $main(arguments)
        }
        #[cfg(not(swift_os))]
        fn main() {
            $crate::start::host_main($main)
        }
    };
}

/// The same under a host's std.
#[cfg(not(swift_os))]
pub fn host_main(main: Main) -> ! {
    use std::os::unix::ffi::OsStringExt;
    let arguments: Vec<&'static CStr> = std::env::args_os()
        .filter_map(|a| std::ffi::CString::new(a.into_vec()).ok())
        .map(|a| &*Box::leak(a.into_boxed_c_str()))
        .collect();
    exit(main(&arguments))
}

/// Ends the process; buffered output has to be flushed before.
pub fn exit(status: i32) -> ! {
    crate::process::runtime::exit_group(status)
}

#[cfg(swift_os)]
mod bare {
    use super::{CStr, Vec, exit};
    use core::fmt::Write;

    unsafe extern "Rust" {
        fn swift_main(arguments: &[&'static CStr]) -> i32;
    }

    /// The kernel enters here with sp at argc, argv…, NULL, envp…, NULL, auxv… (System V ABI, AArch64), 16-aligned.
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the linker's entry symbol; nothing else bears the name.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "C" fn _start() -> ! {
        core::arch::naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "b {begin}", begin = sym begin)
    }

    /// # Safety
    /// `stack` is the initial stack pointer that the kernel gave.
    unsafe extern "C" fn begin(stack: *mut *mut u8) -> ! {
        // SAFETY: the kernel put argc there, and argv (argc pointers and NULL) and envp behind it.
        let (count, argv, envp) = unsafe {
            let count = stack.cast::<usize>().read();
            (count, stack.add(1), stack.add(count + 2))
        };
        // SAFETY: envp is the original block, and no call of rustix came before.
        unsafe { crate::process::rustix_init(envp) };
        let mut arguments = Vec::with_capacity(count);
        for i in 0..count {
            // SAFETY: argv[i] is a NUL-terminated string that lives as long as the process.
            arguments.push(unsafe { CStr::from_ptr((*argv.add(i)).cast_const().cast()) });
        }
        // SAFETY: `entry!` defines it with this very type; without it the program does not link.
        exit(unsafe { swift_main(&arguments) })
    }

    /// 134 is what a shell shows for SIGABRT: a bug of ours, not an error of the user's.
    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo) -> ! {
        let mut err = crate::out::stderr();
        let _ = writeln!(err, "{info}");
        err.flush();
        exit(134)
    }
}

#[cfg(swift_os)]
mod heap {
    //! Blocks of powers of two from 16 bytes to 32 KiB, freed ones kept in a list per size, cut from the program
    //! break; larger ones are mappings of their own. Our programs hold few and small blocks, so the waste is bytes,
    //! and the whole allocator is a few dozen instructions. One thread per process: no lock.

    use crate::process::runtime::kernel_brk;
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::UnsafeCell;
    use core::ptr::null_mut;

    const SMALLEST: usize = 16;
    const LARGEST: usize = 32 << 10;
    const CLASSES: usize = 12;
    /// The break moves by this much; pages that nobody touches cost nothing.
    const STEP: usize = 64 << 10;
    const _: () = assert!(SMALLEST << (CLASSES - 1) == LARGEST && LARGEST <= STEP);

    struct Free {
        next: *mut Free,
    }

    struct State {
        free: [*mut Free; CLASSES],
        next: usize,
        end: usize,
    }

    struct Heap(UnsafeCell<State>);

    // SAFETY: our programs have one thread and do not allocate in signal handlers (they install none).
    unsafe impl Sync for Heap {}

    #[global_allocator]
    static HEAP: Heap = Heap(UnsafeCell::new(State { free: [null_mut(); CLASSES], next: 0, end: 0 }));

    fn size(layout: Layout) -> usize {
        layout.size().max(layout.align()).max(SMALLEST).next_power_of_two()
    }

    fn class(size: usize) -> usize {
        (size / SMALLEST).trailing_zeros() as usize
    }

    impl State {
        /// A fresh block on a multiple of its size (every alignment that can be asked for is at most the size).
        fn cut(&mut self, size: usize) -> *mut u8 {
            if self.end == 0 {
                // SAFETY: asking for the present break changes nothing.
                let Ok(start) = (unsafe { kernel_brk(null_mut()) }) else { return null_mut() };
                (self.next, self.end) = (start as usize, start as usize);
            }
            let block = self.next.next_multiple_of(size);
            if block + size > self.end {
                let wanted = (block + size).next_multiple_of(STEP);
                // SAFETY: the area beyond the old break is nobody's; only this function moves the break.
                match unsafe { kernel_brk(wanted as *mut _) } {
                    Ok(end) if end as usize >= wanted => self.end = end as usize,
                    _ => return null_mut(),
                }
            }
            self.next = block + size;
            block as *mut u8
        }
    }

    // SAFETY: every block is handed out once until it comes back, is at least as large and as aligned as asked.
    unsafe impl GlobalAlloc for Heap {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let size = size(layout);
            if size > LARGEST {
                return crate::process::map(size);
            }
            // SAFETY: one thread, and no borrow outlives this function.
            let state = unsafe { &mut *self.0.get() };
            let head = &mut state.free[class(size)];
            if head.is_null() {
                return state.cut(size);
            }
            let block = *head;
            // SAFETY: a block in the list is free memory of ours that begins with a `Free`.
            *head = unsafe { (*block).next };
            block.cast()
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let size = size(layout);
            if size > LARGEST {
                return crate::process::unmap(block, size);
            }
            // SAFETY: as above; the caller gives the block up, and it is large enough for a `Free`.
            unsafe {
                let head = &mut (*self.0.get()).free[class(size)];
                block.cast::<Free>().write(Free { next: *head });
                *head = block.cast();
            }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            // SAFETY: the caller's layout is valid, and its alignment stays.
            let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
            if size(new) == size(layout) {
                return block;
            }
            // SAFETY: both blocks are valid for the smaller of the two sizes and do not overlap.
            unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    core::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                moved
            }
        }
    }
}

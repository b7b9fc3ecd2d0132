//! The atomics and cells of `core`, or loom's models of them.

#[cfg(loom)]
pub use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
};

#[cfg(loom)]
pub fn spin() {
    loom::thread::yield_now();
}

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

#[cfg(not(loom))]
pub fn spin() {
    core::hint::spin_loop();
}

/// loom's cell, over that of `core`.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

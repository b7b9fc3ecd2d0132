use core::mem::MaybeUninit;

use crate::atomic::{AtomicU8, Ordering, UnsafeCell, spin};

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A cell that is written once and then only read.
///
/// Invariant: `value` is initialised and not written again once `state` is `FULL`.
#[derive(Debug)]
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value moves to whichever CPU fills the cell, and is then only shared.
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> Once<T> {
    /// An empty cell.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default, reason = "a static needs a const constructor")]
    pub const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// An empty cell.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, once there.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: by the invariant it is initialised, and nobody writes it any more.
        Some(self.value.with(|value| unsafe { (*value).assume_init_ref() }))
    }

    /// The value; the first to come makes it, others wait for that one.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if self.state.compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Acquire).is_ok() {
            let made = make();
            // SAFETY: only the one that moved the state from EMPTY writes, and nobody reads before FULL.
            self.value.with_mut(|value| unsafe { (*value).write(made) });
            self.state.store(FULL, Ordering::Release);
        }
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            spin();
        }
    }

    /// Puts the value in; false when there was one already.
    #[must_use = "a value that was refused is lost"]
    pub fn set(&self, value: T) -> bool {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.is_none()
    }
}

/// A cell that starts with a value, is edited once where it lies, and is then only read: for statics too large for a stack.
///
/// Invariant: the value is edited only by the one that moved `state` from `EMPTY`, and shared only once it is `FULL`.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct Prepared<T> {
    state: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: whichever CPU comes first has the value for itself; it is then only shared.
#[cfg(not(loom))]
unsafe impl<T: Send + Sync> Sync for Prepared<T> {}

#[cfg(not(loom))]
impl<T> Prepared<T> {
    /// A cell that holds `value` until it is edited.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(value) }
    }

    /// The value, once it has been edited.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: by the invariant nobody writes it any more.
        Some(self.value.with(|value| unsafe { &*value }))
    }

    /// Edits the value and gives it; `None` when that has been done, or begun, before.
    pub fn edit(&self, edit: impl FnOnce(&mut T)) -> Option<&T> {
        self.state.compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: only the one that moved the state from EMPTY comes here, and nobody reads before FULL.
        self.value.with_mut(|value| edit(unsafe { &mut *value }));
        self.state.store(FULL, Ordering::Release);
        self.get()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if self.state.load(Ordering::Acquire) == FULL {
            // SAFETY: by the invariant it is initialised, and nobody else has the cell any more.
            self.value.with_mut(|value| unsafe { (*value).assume_init_drop() });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_value_goes_with_the_cell() {
        let value = std::sync::Arc::new(());
        let cell = Once::new();
        assert!(cell.set(value.clone()));
        drop(cell);
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
        drop(Once::<std::sync::Arc<()>>::new());
    }

    #[test]
    fn the_first_value_stays() {
        let cell = Once::new();
        assert_eq!(cell.get(), None);
        assert!(cell.set(1));
        assert!(!cell.set(2));
        assert_eq!(*cell.get_or_init(|| 3), 1);
    }

    #[test]
    fn a_prepared_value_is_edited_once() {
        let cell = Prepared::new([0; 4]);
        assert_eq!(cell.get(), None);
        assert_eq!(cell.edit(|value| value[1] = 5), Some(&[0, 5, 0, 0]));
        assert_eq!(cell.edit(|value| value[1] = 6), None);
        assert_eq!(cell.get(), Some(&[0, 5, 0, 0]));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn two_makers_agree() {
        loom::model(|| {
            let cell = Arc::new(Once::new());
            let other = cell.clone();
            let thread = loom::thread::spawn(move || *other.get_or_init(|| 1));
            let here = *cell.get_or_init(|| 2);
            assert_eq!(thread.join().unwrap(), here);
        });
    }
}

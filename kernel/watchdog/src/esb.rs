//! The watchdog of the Intel 6300ESB I/O Controller Hub (Intel 300641, "6300ESB ICH Datasheet", chapter 16: Watchdog Timer, D29:F4).
//!
//! It counts two stages, one after the other. The end of the first may interrupt, which nobody needs here; the end of the
//! second resets the machine. A write to a timer or to the reload register counts only behind the two unlocking writes
//! (16.2.4), and uses them up.

/// Vendor and device (16.1.1, 16.1.2).
pub const VENDOR: u16 = 0x8086;
/// See [`VENDOR`].
pub const DEVICE: u16 = 0x25ab;
/// The BAR of the registers (16.1.8), and how many bytes of it are used.
pub const BAR: usize = 0;
/// See [`BAR`].
pub const REGISTERS_LENGTH: u64 = 0x10;

/// Configuration space: WDT Configuration, 16 bits (16.1.11).
pub const CONFIGURATION: u16 = 0x60;
/// Configuration space: WDT Lock, 8 bits (16.1.12).
pub const LOCK: u16 = 0x68;

/// The end of the first stage does nothing: no interrupt, no SMI. The other bits are 0: a clock of 1 kHz, and the end of the second resets.
const NO_INTERRUPT: u16 = 0b11;

/// It counts; else it stands still.
const ENABLE: u8 = 1 << 1;

/// Preload of the first stage, 20 bits (16.2.1); that of the second (16.2.2).
const TIMER_1: usize = 0x00;
const TIMER_2: usize = 0x04;
/// Reload, 16 bits (16.2.4).
const RELOAD: usize = 0x0c;
const UNLOCK: [u16; 2] = [0x80, 0x86];
/// Count anew from the first stage.
const RELOAD_NOW: u16 = 1 << 8;
/// The second stage has ended once; written as 1 it is forgotten.
const EXPIRED: u16 = 1 << 9;

/// Largest preload.
const PRELOAD_MAX: u32 = 0xf_ffff;
/// Ticks that each of the two stages counts for a second: a tick of the slow clock is 2^15 cycles of 33 MHz, about 1 ms, so this many in
/// both are a second and 7 ms.
const STAGE_TICKS: u32 = 512;

/// The longest timeout in seconds, and the shortest.
pub const TIMEOUT_MAX: u32 = PRELOAD_MAX / STAGE_TICKS;
/// See [`TIMEOUT_MAX`].
pub const TIMEOUT_MIN: u32 = 1;

/// Access to the device, each of the width that is named. Configuration space has the byte at [`LOCK`] and the word at
/// [`CONFIGURATION`].
#[allow(missing_docs)]
pub trait Registers {
    fn config_read8(&self, offset: u16) -> u8;
    fn config_write8(&self, offset: u16, value: u8);
    fn config_write16(&self, offset: u16, value: u16);
    fn read16(&self, offset: usize) -> u16;
    fn write16(&self, offset: usize, value: u16);
    fn write32(&self, offset: usize, value: u32);
}

/// The device. Its memory space is enabled.
#[derive(Debug)]
pub struct Esb<R> {
    registers: R,
}

/// What a stage is loaded with for a timeout.
#[must_use]
pub const fn preload(timeout: u32) -> u32 {
    let timeout = if timeout < TIMEOUT_MIN { TIMEOUT_MIN } else { timeout };
    let timeout = if timeout > TIMEOUT_MAX { TIMEOUT_MAX } else { timeout };
    timeout * STAGE_TICKS
}

impl<R: Registers> Esb<R> {
    /// The device behind these registers; it goes on as it was.
    pub const fn new(registers: R) -> Self {
        Self { registers }
    }

    fn unlock(&self) {
        UNLOCK.iter().for_each(|&value| self.registers.write16(RELOAD, value));
    }

    /// Whether it counts, and will reset the machine.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.registers.config_read8(LOCK) & ENABLE != 0
    }

    /// Whether it has reset the machine since this was asked last.
    #[must_use]
    pub fn take_expired(&self) -> bool {
        let expired = self.registers.read16(RELOAD) & EXPIRED != 0;
        if expired {
            self.unlock();
            self.registers.write16(RELOAD, EXPIRED);
        }
        expired
    }

    /// Counts `timeout` seconds from now on.
    pub fn start(&self, timeout: u32) {
        self.registers.config_write16(CONFIGURATION, NO_INTERRUPT);
        self.set_timeout(timeout);
        self.registers.config_write8(LOCK, ENABLE);
        self.feed();
    }

    /// Loads both stages; what counts goes on counting until it is fed.
    pub fn set_timeout(&self, timeout: u32) {
        for timer in [TIMER_1, TIMER_2] {
            self.unlock();
            self.registers.write32(timer, preload(timeout));
        }
    }

    /// Counts from the start again.
    pub fn feed(&self) {
        self.unlock();
        self.registers.write16(RELOAD, RELOAD_NOW);
    }

    /// Stops it. False: it goes on, because somebody has locked it.
    pub fn stop(&self) -> bool {
        self.registers.config_write8(LOCK, 0);
        !self.is_running()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;

    /// The counter runs on the clock of 1 MHz instead of 1 kHz.
    const FAST_CLOCK: u16 = 1 << 2;
    /// The end of the second stage resets nothing.
    const OUTPUT_OFF: u16 = 1 << 5;

    /// The device as the datasheet describes it, with a clock that is moved by hand. A tick is one of the slow clock.
    #[derive(Debug, Default)]
    struct Model {
        configuration: u16,
        lock: u8,
        preloads: [u32; 2],
        unlocked: u8,
        /// Ticks since the first stage began.
        passed: u64,
        expired: bool,
        resets: u32,
    }

    impl Model {
        fn pass(&mut self, ticks: u64) {
            if self.lock & ENABLE == 0 {
                return;
            }
            self.passed += ticks * if self.configuration & FAST_CLOCK != 0 { 1024 } else { 1 };
            if self.passed >= self.preloads.iter().map(|&p| u64::from(p)).sum() && self.configuration & OUTPUT_OFF == 0
            {
                (self.expired, self.lock, self.passed) = (true, 0, 0);
                self.resets += 1;
            }
        }
    }

    impl Registers for &RefCell<Model> {
        fn config_read8(&self, offset: u16) -> u8 {
            assert_eq!(offset, LOCK);
            self.borrow().lock
        }
        fn config_write8(&self, offset: u16, value: u8) {
            assert_eq!(offset, LOCK);
            let mut model = self.borrow_mut();
            if model.lock & 1 == 0 {
                if model.lock & ENABLE == 0 {
                    model.passed = 0;
                }
                model.lock = value;
            }
        }
        fn config_write16(&self, offset: u16, value: u16) {
            assert_eq!(offset, CONFIGURATION);
            self.borrow_mut().configuration = value;
        }
        fn read16(&self, offset: usize) -> u16 {
            assert_eq!(offset, RELOAD);
            if self.borrow().expired { EXPIRED } else { 0 }
        }
        fn write16(&self, offset: usize, value: u16) {
            assert_eq!(offset, RELOAD);
            let mut model = self.borrow_mut();
            match (value, model.unlocked) {
                (0x80, _) => model.unlocked = 1,
                (0x86, 1) => model.unlocked = 2,
                (_, 2) => {
                    model.unlocked = 0;
                    if value & RELOAD_NOW != 0 {
                        model.passed = 0;
                    }
                    if value & EXPIRED != 0 {
                        model.expired = false;
                    }
                }
                _ => model.unlocked = 0,
            }
        }
        fn write32(&self, offset: usize, value: u32) {
            let mut model = self.borrow_mut();
            if core::mem::take(&mut model.unlocked) == 2 && value <= PRELOAD_MAX {
                model.preloads[offset / 4] = value;
            }
        }
    }

    const SECOND: u64 = 2 * STAGE_TICKS as u64;

    #[test]
    fn it_resets_when_nobody_feeds_it_and_tells_once() {
        let model = RefCell::new(Model::default());
        let esb = Esb::new(&model);
        assert!(!esb.is_running() && !esb.take_expired());
        esb.start(30);
        assert!(esb.is_running());
        for _ in 0..10 {
            model.borrow_mut().pass(29 * SECOND);
            esb.feed();
        }
        assert_eq!(model.borrow().resets, 0);
        model.borrow_mut().pass(30 * SECOND - 1);
        assert_eq!(model.borrow().resets, 0);
        model.borrow_mut().pass(1);
        assert_eq!(model.borrow().resets, 1);
        assert!(esb.take_expired());
        assert!(!esb.take_expired());
    }

    #[test]
    fn what_stands_still_or_is_locked_is_known() {
        let model = RefCell::new(Model::default());
        let esb = Esb::new(&model);
        esb.start(1);
        assert!(esb.stop() && !esb.is_running());
        model.borrow_mut().pass(100 * SECOND);
        assert_eq!(model.borrow().resets, 0);
        model.borrow_mut().lock = ENABLE | 1;
        assert!(!esb.stop(), "it says that it goes on");
        model.borrow_mut().pass(SECOND);
        assert_eq!(model.borrow().resets, 1);
    }

    #[test]
    fn a_write_without_the_unlocking_ones_is_lost() {
        let model = RefCell::new(Model::default());
        let esb = Esb::new(&model);
        esb.start(5);
        (&model).write16(RELOAD, RELOAD_NOW);
        (&model).write32(TIMER_1, 1);
        assert_eq!(model.borrow().preloads, [preload(5); 2]);
    }

    proptest! {
        #[test]
        fn each_timeout_is_kept_to_the_tick(timeout in 0..=u32::MAX) {
            let kept = timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
            prop_assert!(preload(timeout) <= PRELOAD_MAX);
            let model = RefCell::new(Model::default());
            Esb::new(&model).start(timeout);
            model.borrow_mut().pass(u64::from(kept) * SECOND - 1);
            prop_assert_eq!(model.borrow().resets, 0);
            model.borrow_mut().pass(1);
            prop_assert_eq!(model.borrow().resets, 1);
        }
    }
}

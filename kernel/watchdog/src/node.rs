//! `/dev/watchdog` (Linux, Documentation/watchdog/watchdog-api.rst): opening it arms, any write feeds, and closing it stops
//! only what was told so by the letter `V`.
//!
//! What counts down is not here: each call says what is to be done with it.

/// What is to be done with the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Count down from the timeout.
    Start,
    /// Count from the timeout again.
    Feed,
    /// Stop.
    Stop,
    /// Go on; who had it open is gone without having said `V`.
    GoOn,
}

/// The letter that says that the close to come is meant.
const MAGIC: u8 = b'V';

/// Who has it open, how long it waits, whether it counts.
#[derive(Debug)]
pub struct Node {
    open: bool,
    close_is_meant: bool,
    armed: bool,
    timeout: u32,
    bounds: (u32, u32),
}

impl Node {
    /// Of a watchdog that waits `timeout` seconds unless told otherwise, within `bounds`. `armed`: somebody has started it already.
    #[must_use]
    pub const fn new(timeout: u32, bounds: (u32, u32), armed: bool) -> Self {
        Self { open: false, close_is_meant: false, armed, timeout, bounds }
    }

    /// Seconds until it resets a machine that does not feed it.
    #[must_use]
    pub const fn timeout(&self) -> u32 {
        self.timeout
    }

    /// It counts.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        self.armed
    }

    /// `None`: somebody has it open.
    pub fn open(&mut self) -> Option<Do> {
        if self.open {
            return None;
        }
        (self.open, self.close_is_meant) = (true, false);
        Some(self.enable())
    }

    /// These bytes were written, in pieces of one write when `first` is false.
    pub fn write(&mut self, bytes: &[u8], first: bool) -> Do {
        self.close_is_meant = (self.close_is_meant && !first) || bytes.contains(&MAGIC);
        Do::Feed
    }

    /// Another timeout; counting begins anew. `None`: out of bounds.
    pub fn set_timeout(&mut self, timeout: u32) -> Option<Do> {
        let (least, most) = self.bounds;
        if !(least..=most).contains(&timeout) {
            return None;
        }
        self.timeout = timeout;
        Some(if self.armed { Do::Start } else { Do::GoOn })
    }

    /// `WDIOS_ENABLECARD`.
    pub fn enable(&mut self) -> Do {
        self.armed = true;
        Do::Start
    }

    /// `WDIOS_DISABLECARD`, and what precedes a halt.
    pub fn disable(&mut self) -> Do {
        self.armed = false;
        Do::Stop
    }

    /// It could not be stopped.
    pub fn goes_on(&mut self) {
        self.armed = true;
    }

    /// The last descriptor was closed.
    pub fn close(&mut self) -> Do {
        self.open = false;
        match (self.armed, self.close_is_meant) {
            (true, false) => Do::GoOn,
            _ => self.disable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::new(60, (1, 100), false)
    }

    #[test]
    fn opening_arms_and_a_second_opener_is_refused() {
        let mut node = node();
        assert_eq!(node.open(), Some(Do::Start));
        assert!(node.is_armed());
        assert_eq!(node.open(), None);
        assert_eq!(node.write(b"\0", true), Do::Feed);
        assert_eq!(node.close(), Do::GoOn);
        assert!(node.is_armed(), "who had it open died");
        assert_eq!(node.open(), Some(Do::Start));
    }

    #[test]
    fn only_a_v_in_the_last_write_makes_a_close_stop_it() {
        for (writes, end) in [
            (&[(&b"V"[..], true)][..], Do::Stop),
            (&[(b"abVc", true)], Do::Stop),
            (&[(b"v", true)], Do::GoOn),
            (&[], Do::GoOn),
            (&[(b"V", true), (b"x", true)], Do::GoOn),
            (&[(b"V", true), (b"x", false)], Do::Stop),
        ] {
            let mut node = node();
            node.open();
            for (bytes, first) in writes {
                node.write(bytes, *first);
            }
            assert_eq!(node.close(), end, "{writes:?}");
            assert_eq!(node.is_armed(), end == Do::GoOn);
            // What was said does not outlast the close.
            node.open();
            assert_eq!(node.close(), Do::GoOn);
        }
    }

    #[test]
    fn a_timeout_stays_within_bounds() {
        let mut node = node();
        for refused in [0, 101, u32::MAX] {
            assert_eq!(node.set_timeout(refused), None);
            assert_eq!(node.timeout(), 60);
        }
        assert_eq!(node.set_timeout(100), Some(Do::GoOn));
        node.open();
        assert_eq!(node.set_timeout(1), Some(Do::Start));
        assert_eq!(node.timeout(), 1);
    }

    #[test]
    fn one_that_was_stopped_by_request_is_closed_in_peace() {
        let mut node = node();
        node.open();
        assert_eq!(node.disable(), Do::Stop);
        assert_eq!(node.close(), Do::Stop);
        node.open();
        node.disable();
        node.goes_on();
        assert!(node.is_armed(), "it is locked");
    }
}

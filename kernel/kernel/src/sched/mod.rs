//! Threads.
pub struct WaitQueue;
impl WaitQueue {
    pub const fn new() -> Self {
        Self
    }
}
impl ::sync::Sleep for WaitQueue {
    fn sleep_until(&self, _c: impl FnMut() -> bool) {}
    fn wake_one(&self) {}
}

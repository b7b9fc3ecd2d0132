//! System calls.

use crate::arch::trap::TrapFrame;

/// Serves the call in x8 with its arguments in x0 to x5; the result goes to x0.
pub fn dispatch(frame: &mut TrapFrame) {
    frame.x[0] = (-38_i64) as u64;
}

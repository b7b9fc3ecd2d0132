//! Processes.

use crate::arch::trap::{Fault, TrapFrame};

/// The user program cannot go on from this.
pub fn user_fault(_frame: &mut TrapFrame, fault: Fault) {
    panic!("user fault {fault:?}");
}

/// Called before a thread whose `Thread::interrupt` was called goes on in user mode.
pub fn before_user_return(_frame: &mut TrapFrame) {}

/// Starts the first process.
pub fn start_init() {}

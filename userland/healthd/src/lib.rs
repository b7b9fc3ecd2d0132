//! What healthd decides, apart from the system that it is about: `check` reads declarations, `board` schedules checks and comes to a verdict,
//! `facts` reads the kernel's texts, `record` what an earlier release found, `status` what is told to others. Times are arguments.
#![cfg_attr(all(swift_os, not(test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod board;
pub mod check;
pub mod facts;
pub mod json;
pub mod limits;
pub mod record;
pub mod status;

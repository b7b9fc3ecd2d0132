//! pid 1's decisions, apart from the system that they are about: `service` reads a declaration, `supervisor` chooses
//! what starts when. The program around them (main.rs, spawn.rs, stop.rs) does what they say.
#![cfg_attr(all(swift_os, not(test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod service;
pub mod supervisor;

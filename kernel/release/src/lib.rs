#![no_std]
//! See docs/kernel.md.

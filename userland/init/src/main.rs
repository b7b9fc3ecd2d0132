//! pid 1.
#![cfg_attr(swift_os, no_std, no_main)]

use core::ffi::CStr;

rt::entry!(run);

fn run(arguments: &[&'static CStr]) -> i32 {
    rt::event::Event::new("init.hello").with("arguments", arguments.len()).send();
    rt::out!("init: hello\n");
    0
}

//! `halt`, `poweroff`, `reboot`: a signal to init, which stops the services first (userland/init).

use crate::{Usage, unknown};
use rt::process::runtime::Signal;
use rt::rustix::fs::sync;
use rt::rustix::process::{Pid, geteuid, kill_process};
use rt::rustix::system::{RebootCommand, reboot};

pub const HALT_HELP: &str = "usage: halt [-f]
Stops all services and halts the machine.
  -f  at once, without asking init: services are not stopped, files are written out
";
pub const POWEROFF_HELP: &str = "usage: poweroff [-f]
Stops all services and switches the machine off.
  -f  at once, without asking init: services are not stopped, files are written out
";
pub const REBOOT_HELP: &str = "usage: reboot [-f]
Stops all services and starts the machine anew.
  -f  at once, without asking init: services are not stopped, files are written out
";

pub fn run(name: &str, arguments: &[&str]) -> Result<i32, Usage> {
    let force = match arguments {
        [] => false,
        ["-f"] => true,
        [first, ..] => return Err(unknown(first)),
    };
    if !geteuid().is_root() {
        rt::errln!("{name}: only root can do that");
        return Ok(1);
    }
    let (signal, command) = match name {
        "halt" => (Signal::USR1, RebootCommand::Halt),
        "poweroff" => (Signal::USR2, RebootCommand::PowerOff),
        _ => (Signal::TERM, RebootCommand::Restart),
    };
    let done = if force {
        sync();
        reboot(command)
    } else {
        kill_process(Pid::INIT, signal)
    };
    Ok(match done {
        Ok(()) => 0,
        Err(error) => {
            rt::errln!("{name}: {}", rt::errno::text(error));
            1
        }
    })
}

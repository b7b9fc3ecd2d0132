//! Power cuts: the writes and flushes of a run are recorded; from every way in which they can end, a device is made, opened, and looked at.
//!
//! - `record`  the device that records
//! - `cut`     which ways there are
//! - `states`  the states of a device that a recording can leave
//! - `model`   what a volume should hold
//! - `pair`    a volume and its model, driven together
//! - `oracle`  whether what is on a device is what some record leads to, with all that was promised
//! - `recover` recovery from a cut, and its own cuts
//! - `writelog` recordings made by others
//! - `disk`    the volume of a disk with partitions
//! - `log`     the sweep over a recording of which nothing else is known
//! - `run`     a recorded run, and the sweep over it
//! - `random`  random operations
//! - `witness` what was seen through calls on files, and what of it may be left
//! - `workloads` what is recorded
pub mod cut;
pub mod disk;
pub mod log;
pub mod model;
pub mod oracle;
pub mod pair;
pub mod random;
pub mod record;
pub mod recover;
pub mod run;
pub mod states;
pub mod witness;
pub mod workloads;
pub mod writelog;

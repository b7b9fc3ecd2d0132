//! The declared checks: those of the base, and the operator's own.

use alloc::{format, string::String, vec::Vec};

use declared::{FILE_MAX, Mistake};
use healthd::check::{Check, Times};
use healthd::limits::CHECKS_MAX;
use rt::Errno;
use rt::event::Event;

const BASE: &str = "/etc/health.d";
const OPERATOR: &str = "/data/etc/health.d";
const TIMES: &str = "/etc/health.conf";

/// What there is to look at.
pub struct Declared {
    pub checks: Vec<Check>,
    /// Files of the base that declare nothing, and why: as long as there is one, nothing is good.
    pub damaged: Vec<(String, String)>,
    pub times: Times,
    /// Every file that declares nothing. Of the operator's it has no other consequence than to be told.
    pub mistakes: Vec<(String, Mistake)>,
}

/// Reads every file.
pub fn all() -> Declared {
    let mut declared =
        Declared { checks: Vec::new(), damaged: Vec::new(), times: Times::default(), mistakes: Vec::new() };
    match times() {
        Ok(times) => declared.times = times,
        Err(mistake) => {
            declared.damaged.push(("health.conf".into(), mistake.why.clone()));
            declared.mistakes.push((TIMES.into(), mistake));
        }
    }
    for folder in [BASE, OPERATOR] {
        let files = match rt::fs::list(folder) {
            Ok(files) => files,
            Err(Errno::NOENT) if folder == OPERATOR => continue,
            Err(error) => {
                let mistake = Mistake::of_file("", rt::errno::text(error));
                if folder == BASE {
                    declared.damaged.push((folder.into(), mistake.why.clone()));
                }
                declared.mistakes.push((folder.into(), mistake));
                continue;
            }
        };
        for file in files {
            let path = format!("{folder}/{file}");
            match one(&file, &path, &declared.checks) {
                Ok(check) => declared.checks.push(check),
                Err(mistake) => {
                    if folder == BASE {
                        declared.damaged.push((file, format!("the file declares no check: {}", mistake.why)));
                    }
                    declared.mistakes.push((path, mistake));
                }
            }
        }
    }
    declared
}

fn times() -> Result<Times, Mistake> {
    match rt::fs::read_text(TIMES, FILE_MAX) {
        Ok(text) => Times::parse(&text),
        Err(Errno::NOENT) => Ok(Times::default()),
        Err(error) => Err(Mistake::of_file("", rt::errno::text(error))),
    }
}

fn one(file: &str, path: &str, known: &[Check]) -> Result<Check, Mistake> {
    let wrong = |why: String| Mistake::of_file("", why);
    let name = file.strip_suffix(".check").ok_or_else(|| wrong("the file's name does not end in .check".into()))?;
    let name = declared::name(name).map_err(|why| wrong(format!("the file's name {why}")))?;
    if known.iter().any(|check| check.name == name) {
        return Err(wrong("a check of the base has this name".into()));
    }
    if known.len() == CHECKS_MAX {
        return Err(wrong(format!("there are {CHECKS_MAX} checks already")));
    }
    let text = rt::fs::read_text(path, FILE_MAX).map_err(|error| wrong(rt::errno::text(error).into()))?;
    Check::parse(&name, &text)
}

impl Declared {
    /// Tells every mistake.
    pub fn report(&self) {
        for (file, mistake) in &self.mistakes {
            let event = Event::new("health.error").with("what", "file").with("file", file).with("line", mistake.line);
            event.with("key", &mistake.key).with("why", &mistake.why).send();
        }
    }
}

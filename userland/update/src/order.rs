//! What an operator asks the service for: one line to its FIFO, `REPLY TAB VERB TAB ARGUMENT…`, and lines back. Lines are at most [`LINE_MAX`] bytes, which a
//! FIFO takes whole, so that two who ask at once are not mixed up.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::judge::Leave;
use crate::window::Window;

/// PIPE_BUF.
pub const LINE_MAX: usize = 4096;
/// Where the service takes orders.
pub const ORDERS: &str = "/run/update/orders";

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Put a release into the slot that does not run.
    Install {
        /// A file or a block device.
        path: String,
        /// What is let pass.
        leave: Leave,
        /// Restart when it is done.
        reboot: bool,
    },
    /// End the trial of the running release: it is good.
    MarkGood,
    /// No way back behind the running release.
    Commit,
    /// Restart into the other slot.
    Rollback {
        /// Kept and shown.
        reason: String,
    },
    /// Forget which releases failed here.
    Retry,
    /// Read both slots and hold them to their headers.
    Verify,
    /// When the machine may restart by itself.
    Window(Window),
    /// Stop what is going on.
    Cancel,
}

/// The words of an order, and the other way.
impl Order {
    /// The verb, for events.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Install { .. } => "install",
            Self::MarkGood => "mark-good",
            Self::Commit => "commit",
            Self::Rollback { .. } => "rollback",
            Self::Retry => "retry",
            Self::Verify => "verify",
            Self::Window(_) => "window",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the words of a command line.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let Some((&verb, rest)) = words.split_first() else { return Err("what is to be done?".into()) };
        let (options, values): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.starts_with("--"));
        let allowed: &[&str] =
            if verb == "install" { &["--accept-expired", "--allow-downgrade", "--reboot"] } else { &[] };
        if let Some(unknown) = options.iter().find(|option| !allowed.contains(option)) {
            return Err(format!("{verb}: unknown option '{unknown}'"));
        }
        let has = |option| options.contains(&option);
        let order = match (verb, &values[..]) {
            ("install", [path]) => Self::Install {
                path: (*path).into(),
                leave: Leave { expired: has("--accept-expired"), downgrade: has("--allow-downgrade") },
                reboot: has("--reboot"),
            },
            ("mark-good", []) => Self::MarkGood,
            ("commit", []) => Self::Commit,
            ("rollback", reason) => Self::Rollback { reason: reason.join(" ") },
            ("retry", []) => Self::Retry,
            ("verify", []) => Self::Verify,
            ("window", [text]) => Self::Window(Window::parse(text).map_err(|why| format!("window: {why}"))?),
            ("cancel", []) => Self::Cancel,
            ("install", _) => return Err("install: expected the path of one release".into()),
            ("window", _) => return Err("window: expected 'always', 'never', or times such as 22:30-04:00".into()),
            ("mark-good" | "commit" | "retry" | "verify" | "cancel", _) => {
                return Err(format!("{verb}: takes no argument"));
            }
            _ => return Err(format!("there is no '{verb}'")),
        };
        Ok(order)
    }
}

/// A line for the service.
///
/// # Errors
/// A word holds a tab or a line's end, or it is too long.
pub fn line(reply: &str, words: &[&str]) -> Result<String, &'static str> {
    if words.iter().any(|word| word.contains(['\t', '\n', '\0'])) {
        return Err("a path or text here cannot hold a tab or a line's end");
    }
    let line = format!("{reply}\t{}\n", words.join("\t"));
    if line.len() > LINE_MAX { Err("too long") } else { Ok(line) }
}

/// Where to reply to, and the words.
pub fn words(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut fields = line.split('\t');
    let reply = fields.next()?;
    let is_ours =
        reply.strip_prefix("/run/update/reply.").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
    is_ours.then(|| (reply, fields.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_are_read_and_nonsense_is_named() {
        let install = Order::parse(&["install", "--reboot", "/dev/vdb", "--accept-expired"]).unwrap();
        let leave = Leave { expired: true, downgrade: false };
        assert_eq!(install, Order::Install { path: "/dev/vdb".into(), leave, reboot: true });
        assert_eq!(
            Order::parse(&["rollback", "disk", "slow"]).unwrap(),
            Order::Rollback { reason: "disk slow".into() }
        );
        for (words, why) in [
            (&[][..], "what is to be done?"),
            (&["instal"], "there is no 'instal'"),
            (&["install"], "install: expected the path of one release"),
            (&["install", "a", "b"], "install: expected the path of one release"),
            (&["commit", "--reboot"], "commit: unknown option '--reboot'"),
            (&["retry", "x"], "retry: takes no argument"),
            (&["window", "noon"], "window: expected 'always'"),
        ] {
            assert!(Order::parse(words).unwrap_err().starts_with(why), "{words:?}");
        }
    }

    #[test]
    fn a_line_goes_there_and_back() {
        let text = line("/run/update/reply.7", &["install", "/data/a b"]).unwrap();
        assert_eq!(words(text.trim_end_matches('\n')), Some(("/run/update/reply.7", ["install", "/data/a b"].into())));
        assert!(
            line("r", &["a\tb"]).is_err() && line("r", &["a\nb"]).is_err() && line("r", &[&"x".repeat(5000)]).is_err()
        );
        // Nothing is written where the one who asks says, but where the service has its replies.
        for wrong in ["/etc/passwd\tretry", "/run/update/reply.1/../../x\tretry", "/run/update/reply.1x\tretry", ""] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_service_fall(text in "\\PC{0,200}") {
            if let Some((_, words)) = words(&text) {
                let _ = Order::parse(&words);
            }
        }
    }
}

use core::fmt;

/// Why the firmware's tables were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The FDT is malformed; dtoolkit's reason.
    Fdt(dtoolkit::error::FdtParseError),
    /// An ACPI structure lies outside the memory that may be read.
    Unreachable {
        /// Signature, or what was looked for.
        table: [u8; 4],
        /// Where it was said to be.
        address: u64,
    },
    /// An ACPI structure is malformed.
    Malformed {
        /// Signature of the table.
        table: [u8; 4],
        /// What is wrong with it.
        why: &'static str,
    },
    /// The tables do not describe something that the kernel cannot run without.
    Missing(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fdt(error) => write!(f, "FDT: {error}"),
            Self::Unreachable { table, address } => {
                write!(f, "ACPI {}: {address:#x} is not readable memory", table.escape_ascii())
            }
            Self::Malformed { table, why } => write!(f, "ACPI {}: {why}", table.escape_ascii()),
            Self::Missing(what) => write!(f, "the firmware's tables describe no {what}"),
        }
    }
}

impl core::error::Error for Error {}

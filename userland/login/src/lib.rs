//! Whether a password opens an account. Pure: the text of /etc/shadow's field and the typed bytes in, a yes or no out.
#![cfg_attr(all(swift_os, not(test)), no_std)]
#![forbid(unsafe_code)]

use sha_crypt::{PasswordVerifier, ShaCrypt};

/// The one kind of hash that opens an account: SHA-512-crypt.
const PREFIX: &str = "$6$";
/// A hash that no password is known for. Checked where there is no account to check, so that both take as long.
const NOBODY: &str =
    "$6$swiftosnobody$HuvA7W.bftPoNr6pMHZgewdVQMOHIYVE35auMc3j2.T/fskfCcJe/Tn5voMRTl9VZhd.srFyC6wdOw5aj5S381";

/// True only if `field` is a SHA-512-crypt hash of `password`. No account, a locked one (`!…`, `*`), an empty field and
/// any other kind of hash refuse every password, after the same work.
pub fn opens(field: Option<&str>, password: &[u8]) -> bool {
    let known = field.filter(|f| f.starts_with(PREFIX));
    let fits = ShaCrypt::SHA512.verify_password(password, known.unwrap_or(NOBODY)).is_ok();
    fits && known.is_some()
}

/// A name that may be looked up and printed: what /etc/passwd can hold, and nothing that a program takes for an option.
pub fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !text.is_empty() && text.len() <= 32 && !text.starts_with('-') && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the specification of SHA-crypt, and one from `openssl passwd -6`.
    const VECTORS: [(&str, &str); 4] = [
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        (
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H\
             9qs/y3RnOaw5v.",
            "Hello world!",
        ),
        (
            "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7Um\
             JEiDwGqd8p4ur1",
            "a very much longer text to encrypt.  This one even stretches over morethan one line.",
        ),
        (
            "$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpB\
             YYBaHHrsX.",
            "the minimum number is still observed",
        ),
    ];

    #[test]
    fn the_right_password_opens_and_a_near_one_does_not() {
        for (hash, password) in VECTORS {
            assert!(opens(Some(hash), password.as_bytes()), "{hash}");
            assert!(!opens(Some(hash), &password.as_bytes()[1..]), "{hash}");
            assert!(!opens(Some(hash), format!("{password} ").as_bytes()), "{hash}");
        }
    }

    #[test]
    fn locked_empty_and_unknown_fields_refuse_everything() {
        let (hash, password) = VECTORS[0];
        let locked = format!("!{hash}");
        let truncated = &hash[..hash.len() - 1];
        let sha256 = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8";
        for field in [
            Some("!"),
            Some("*"),
            Some(""),
            Some("x"),
            Some(password),
            Some(&locked),
            Some(truncated),
            Some(sha256),
            Some("$y$j9T$salt$hash"),
            Some("$6$"),
            Some("$6$rounds=1$salt$x"),
            None,
        ] {
            assert!(!opens(field, password.as_bytes()), "{field:?}");
            assert!(!opens(field, b""), "{field:?}");
        }
    }

    #[test]
    fn the_stand_in_is_a_hash_of_the_usual_cost() {
        assert!(NOBODY.len() == "$6$swiftosnobody$".len() + 86 && !opens(Some(NOBODY), b""));
    }

    #[test]
    fn names_are_checked() {
        assert!(["root", "guest", "a.b-c_9"].iter().all(|n| is_name(n)));
        assert!(!["", "-f", "a b", "a/b", "ä", "x\u{1b}[2J", &"a".repeat(33)].iter().any(|n| is_name(n)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_field_panics(field in "(\\$6\\$)?[!-~]{0,60}", password in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(!opens(Some(&field), &password));
        }
    }
}

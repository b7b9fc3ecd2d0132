"""SHA-512-crypt: as openssl hashes, and the vectors of the document that defines it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swiftbuild.core.sha512crypt import digest, matches

VECTORS = [
    ("$6$saltstring", "Hello world!",
     "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
    ("$6$rounds=10000$saltstringsaltst", "Hello world!",
     "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."),
    ("$6$rounds=1400$anotherlongsalts",
     "a very much longer text to encrypt.  This one even stretches over morethan one line.",
     "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "password", "tail"), VECTORS)
def test_the_document_says_so(head: str, password: str, tail: str) -> None:
    assert matches(f"{head}${tail}", password)
    assert not matches(f"{head}${tail}", password + "x")


@settings(max_examples=12)
@given(st.text("abcdefghijklmnopqrstuvwxyz-.!0", min_size=1, max_size=90), st.text("./0AZaz", min_size=1, max_size=16))
def test_openssl_says_so(password: str, salt: str) -> None:
    done = subprocess.run(["/usr/bin/openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=password, text=True,
                          check=True, capture_output=True)
    assert done.stdout.strip() == f"$6${salt}${digest(password.encode(), salt.encode())}"


@pytest.mark.parametrize("hashed", ["", "!", "*", "x", "swift", "$6$", "$6$salt$short", "$5$salt$" + "x" * 86])
def test_what_is_no_such_hash_is_nobodys(hashed: str) -> None:
    assert not matches(hashed, "swift") and not matches(hashed, "")

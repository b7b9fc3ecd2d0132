"""SHA-512-crypt, as passwords of /etc/shadow are hashed (U. Drepper, "Unix crypt using SHA-256 and SHA-512", 2007).

Numbers in brackets are the document's steps.
"""

from __future__ import annotations

import hashlib
import re

FORM = re.compile(r"\$6\$(?:rounds=(\d{1,9})\$)?([^$]{0,16})\$([./0-9A-Za-z]{86})")
ROUNDS_DEFAULT, ROUNDS_MIN, ROUNDS_MAX = 5000, 1000, 1_000_000
"""The document allows 999 999 999 rounds, which would take hours; a hash with more than this many is not tried."""
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
THIRD = 21
"""Bytes 0, 21 and 42 are the first group; each next one is moved on by one place and turned by one. [22e]"""


def matches(hashed: str, password: str) -> bool:
    """The hash is that of this password."""
    found = FORM.fullmatch(hashed)
    if found is None:
        return False
    rounds = min(max(int(found[1] or ROUNDS_DEFAULT), ROUNDS_MIN), ROUNDS_MAX)
    return digest(password.encode(), found[2].encode(), rounds) == found[3]


def digest(password: bytes, salt: bytes, rounds: int = ROUNDS_DEFAULT) -> str:
    """The last field of the hash."""
    inner = hashlib.sha512(password + salt + password).digest()  # [4-8]
    outer = hashlib.sha512(password + salt + _stretched(inner, len(password)))  # [1-3, 9-10]
    length = len(password)
    while length:  # [11]
        outer.update(inner if length & 1 else password)
        length >>= 1
    now = outer.digest()
    p = _stretched(hashlib.sha512(password * len(password)).digest(), len(password))  # [13-16]
    s = _stretched(hashlib.sha512(salt * (16 + now[0])).digest(), len(salt))  # [17-20]
    for number in range(rounds):  # [21]
        odd = number & 1
        now = hashlib.sha512(b"".join((p if odd else now, s if number % 3 else b"", p if number % 7 else b"",
                                       now if odd else p))).digest()
    return _encoded(now)


def _stretched(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encoded(value: bytes) -> str:
    places, out = [0, THIRD, 2 * THIRD], []
    for _ in range(THIRD):
        bits = value[places[0]] << 16 | value[places[1]] << 8 | value[places[2]]
        out += [ALPHABET[bits >> shift & 63] for shift in (0, 6, 12, 18)]
        places = [place + 1 for place in (places[1], places[2], places[0])]
    return "".join([*out, ALPHABET[value[63] & 63], ALPHABET[value[63] >> 6]])

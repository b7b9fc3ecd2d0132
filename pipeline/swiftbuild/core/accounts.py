"""Users, groups, passwords and the login banner of an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swiftbuild.errors import UsageError
from swiftbuild.model.profile import Profile

LOCKED = "!"
"""A password field that no password matches."""
LAST_CHANGE = 20454
"""Days since 1970 of 2026-01-01: a constant, like every other time in an image."""
CRYPT = re.compile(r"\$6\$(?:rounds=[1-9][0-9]{3,8}\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{86}")
"""SHA-512-crypt: the form that login reads."""
SSH_KEY = re.compile(r"(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]+=*(?: [^\n]*)?")


@dataclass(frozen=True)
class User:
    """One account."""

    name: str
    uid: int
    home: str
    shell: str
    description: str


USERS = (
    User("root", 0, "/root", "/bin/sh", "root"),
    User("guest", 1000, "/home/guest", "/bin/sh", "guest"),
    User("nobody", 65534, "/nonexistent", "/bin/false", "nobody"),
)
LOGINS = ("root", "guest")
GROUPS = {"root": 0, "tty": 5, "guest": 1000, "nogroup": 65534}
OWNERS = {user.name: user.uid for user in USERS}


@dataclass(frozen=True)
class Access:
    """How people get in: what the command line says in place of built-in passwords."""

    hashes: Mapping[str, str]
    ssh_keys: tuple[str, ...]

    @property
    def given(self) -> bool:
        """Whether anything replaces the built-in passwords."""
        return bool(self.hashes or self.ssh_keys)


def parse_access(password_hashes: list[str], ssh_keys: list[str]) -> Access:
    """`[USER:]HASH` options and the lines of public key files."""
    hashes = {}
    for option in password_hashes:
        user, colon, value = option.partition(":")
        if not colon:
            user, value = "root", option
        if user not in LOGINS:
            raise UsageError(f"--password-hash: no user {user!r}; there are {', '.join(LOGINS)}")
        if CRYPT.fullmatch(value) is None:
            raise UsageError(f"--password-hash for {user}: not a SHA-512-crypt hash ($6$SALT$…)",
                             hint="make one with: openssl passwd -6")
        hashes[user] = value
    for line in ssh_keys:
        if SSH_KEY.fullmatch(line) is None:
            raise UsageError(f"--ssh-key: {line[:40]!r} is not a line of an OpenSSH public key file")
    return Access(hashes, tuple(ssh_keys))


def built_in(profile: Profile, access: Access) -> dict[str, tuple[str, str]]:
    """User → (password, salt) of the built-in logins: only in an image marked dev, and while nothing replaces them."""
    if not profile.dev or access.given:
        return {}
    pairs = {"root": profile.login.root, "guest": profile.login.guest}
    return {name: (pair.password, pair.salt) for name, pair in pairs.items() if pair is not None}


def account_files() -> dict[str, str]:
    """Path → text of the account files that everyone may read."""
    return {
        "/etc/passwd": "".join(
            f"{user.name}:x:{user.uid}:{GROUPS[_group(user)]}:{user.description}:{user.home}:{user.shell}\n"
            for user in USERS
        ),
        "/etc/group": "".join(f"{name}:x:{gid}:\n" for name, gid in GROUPS.items()),
    }


def shadow_file(hashes: Mapping[str, str]) -> str:
    """The password file; a user without a hash is locked."""
    fields = {user.name: hashes.get(user.name, LOCKED) for user in USERS}
    return "".join(f"{name}:{value}:{LAST_CHANGE}:0:99999:7:::\n" for name, value in fields.items())


def _group(user: User) -> str:
    return "nogroup" if user.name == "nobody" else user.name


def identity_files(profile: Profile, version: str, logins: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Path → text of what names the system; the banner names the built-in passwords, so that nobody misses them."""
    banner = f"swift-os {version} ({profile.name})\n"
    if logins:
        named = ", ".join(f"{user} / {password}" for user, (password, _) in logins.items())
        banner += f"dev image: built-in passwords: {named}\n"
    return {
        "/etc/hostname": f"{profile.hostname}\n",
        "/etc/issue": f"{banner}\n",
        "/etc/os-release": f'NAME="swift-os"\nID=swift-os\nVERSION_ID="{version}"\nPRETTY_NAME="swift-os {version}"\n'
        f'VARIANT_ID="{profile.name}"\n',
    }

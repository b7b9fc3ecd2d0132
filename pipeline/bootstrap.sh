#!/bin/sh
# Sets up what swiftbuild needs: Debian packages (as root or with sudo) and a Python environment from requirements.lock.
# Starts from a machine with sh, git and make. Quick and silent when nothing is missing. --check only names what is missing.
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd "$(dirname "$0")/.."

# Every package is named: with --no-install-recommends nothing else comes along.
PACKAGES="ca-certificates make gcc g++ libc6-dev xz-utils zstd openssl fakeroot faketime
python3 python3-venv
rustc-web cargo-web rust-web-src rustfmt-web rust-web-clippy lld-19 llvm-19
gcc-aarch64-linux-gnu libc6-dev-arm64-cross
qemu-system-arm qemu-user qemu-efi-aarch64 qemu-utils ipxe-qemu
erofs-utils mtools dosfstools fdisk gdisk cryptsetup-bin device-tree-compiler acpica-tools"
STAMP=build/setup.stamp
VENV=.venv
say() { printf '%s\n' "swiftbuild set-up: $*"; }
fail() { printf '%s\n' "error: $1" "" "hint: $2" >&2; exit 4; }

current() { # nothing that the stamp vouches for has changed since
    [ -e "$STAMP" ] && [ -x "$VENV/bin/python" ] &&
    for input in requirements.lock pyproject.toml pipeline/bootstrap.sh /var/lib/dpkg/status; do
        [ ! "$input" -nt "$STAMP" ] || return 1
    done
}

missing_packages() {
    # shellcheck disable=SC2086 # the list is meant to be split
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $PACKAGES 2>/dev/null |
        sed -n 's/^installed //p')
    for package in $PACKAGES; do
        printf '%s\n' "$installed" | grep -qx "$package" || printf '%s ' "$package"
    done
}

install_packages() { # $*: names
    if [ "$(id -u)" = 0 ]; then as_root=
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root=sudo
    else
        fail "these Debian packages are missing, and installing them needs root: $*" \
            "run this once as root, then repeat: apt-get update && apt-get install -y --no-install-recommends $*"
    fi
    say "installing with apt-get: $*"
    # stdin closed and no dialogue: an unattended machine must not wait for an answer
    apt="env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    $as_root $apt update </dev/null
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 || fail "apt knows no package $package" \
            "on Debian 12 the Rust packages (*-web) live in the suite bookworm-security: enable it in /etc/apt/sources.list"
    done
    $as_root $apt install -y --no-install-recommends "$@" </dev/null
}

python_environment() {
    wanted=$(sha256sum < requirements.lock)
    if [ "$(cat "$VENV/swiftbuild.stamp" 2>/dev/null)" != "$wanted $PWD" ] || [ ! -x "$VENV/bin/python" ]; then
        say "Python environment in $VENV from requirements.lock"
        rm -rf "$VENV"
        /usr/bin/python3 -m venv "$VENV"
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-input \
            --require-hashes --only-binary=:all: -r requirements.lock
        printf '%s\n' "$wanted $PWD" > "$VENV/swiftbuild.stamp"
    fi
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-input \
        --no-index --no-deps --no-build-isolation -e .
}

if [ "${1:-}" = --check ]; then
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "missing Debian packages: $missing" "run: make setup"
    exit 0
fi
current && exit 0
mkdir -p build
exec 9>build/setup.lock
! command -v flock >/dev/null || flock 9   # make -j: one sets up, the others wait
if current; then exit 0; fi
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    missing=$(missing_packages)
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
else
    say "this is not Debian 12: packages are not installed here; './swiftbuild doctor' names each tool and its fix"
fi
[ -x /usr/bin/python3 ] || fail "/usr/bin/python3 is missing" "install Python 3.11 or newer with its venv module"
python_environment
touch "$STAMP"

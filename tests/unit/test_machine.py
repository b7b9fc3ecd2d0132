"""QEMU command lines, and what a direct boot takes out of an image. No QEMU is started."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.effects.project import load_profile
from swiftbuild.errors import UsageError
from swiftbuild.machine import media
from swiftbuild.machine import spec as specs
from swiftbuild.machine.spec import Media, Spec, Way, arguments, failing, recorder
from swiftbuild.wire import release

from tests.images import HEAD, build, parts

ROOT = Path(__file__).resolve().parents[2]


def spec(profile: str, way: str | None = None, cpus: int | None = None) -> Spec:
    """The machine of a profile of this repository."""
    return specs.spec(profile, load_profile(ROOT, profile).board, way=way, cpus=cpus)


FILES = Media(disk=Path("d"), variables=Path("v"), kernel=Path("k"), initrd=Path("i"))


def test_hetzner_is_the_device_model_of_the_rented_machine() -> None:
    line = " ".join(arguments(spec("hetzner"), FILES, console="stdio"))
    for part in ("-M virt,gic-version=3 ", "-cpu max,pauth-impdef=on", "-smp 2", "-m 4096M", "virtio-scsi-pci",
                 "scsi-hd,bus=scsi.0", "virtio-net-pci", "virtio-rng-pci"):  # fmt: skip
        assert part in line
    assert "-kernel" not in line


@pytest.mark.parametrize(
    ("way", "parts", "absent"),
    [
        (Way.DIRECT, ["acpi=off", "-kernel k -initrd i", "virtio-rng-device"], ["pflash"]),
        (Way.UEFI_FDT, ["acpi=off", "pflash", "virtio-blk-device", "virtio-rng-device"], ["-kernel"]),
        (Way.UEFI_ACPI, ["pflash", "virtio-blk-pci", "virtio-rng-pci"], ["acpi=off", "-kernel"]),
    ],
)
def test_the_three_ways_in(way: Way, parts: list[str], absent: list[str]) -> None:
    line = " ".join(arguments(spec("qemu", way=way.value, cpus=4), FILES, console="stdio"))
    assert all(part in line for part in [*parts, "-smp 4", "-cpu cortex-a72", "-m 1024M"]), line
    assert not any(part in line for part in absent), line


def test_a_reset_is_an_end_unless_the_machine_resets() -> None:
    assert "-no-reboot" in arguments(spec("qemu"), FILES, console="stdio")
    assert "-no-reboot" not in arguments(spec("qemu"), FILES, console="stdio", resets=True)


def test_filters_lie_between_the_file_and_the_device() -> None:
    filtered = replace(FILES, filters=(failing({"event": "write_aio", "errno": 5}), recorder(Path("log"))))
    words = arguments(spec("hetzner"), filtered, console="stdio")
    nodes = [json.loads(words[at + 1]) for at, word in enumerate(words) if word == "-blockdev"]
    assert [node["node-name"] for node in nodes] == ["disk-0", "disk-1", "disk"]
    assert nodes[1]["image"] == "disk-0" and nodes[1]["inject-error"] == [{"event": "write_aio", "errno": 5}]
    assert nodes[2]["file"] == "disk-1" and nodes[2]["log"]["filename"] == "log"


def test_without_filters_a_flush_reaches_the_file() -> None:
    words = arguments(spec("hetzner"), FILES, console="stdio")
    [node] = [json.loads(words[at + 1]) for at, word in enumerate(words) if word == "-blockdev"]
    assert node["node-name"] == "disk" and node["cache"] == {"no-flush": False}


@pytest.mark.parametrize(("profile", "way", "cpus"), [("vax", None, 1), ("qemu", "grub", 1), ("qemu", None, 9),
                                                      ("qemu", None, 0)])  # fmt: skip
def test_what_is_not_known_is_named(profile: str, way: str | None, cpus: int) -> None:
    with pytest.raises(UsageError):
        spec(profile, way=way, cpus=cpus)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole disk image."""
    return build(parts(tmp_path_factory.mktemp("image")), "qemu")


def test_a_direct_boot_takes_kernel_and_base_out_of_the_image(image: Path, tmp_path: Path) -> None:
    before = image.stat().st_mtime_ns
    found = media.prepare(spec("qemu", way="direct"), image, tmp_path, command_line="quiet")
    assert found.kernel and found.initrd
    assert found.kernel.read_bytes().startswith(HEAD + b"text")
    assert release.read_slot(found.initrd.read_bytes()).header.version == "0.1.0"
    assert image.stat().st_mtime_ns == before


def test_an_overlay_takes_the_writes(image: Path, tmp_path: Path) -> None:
    found = media.prepare(spec("qemu"), image, tmp_path)
    assert found.disk and found.variables
    assert found.disk.read_bytes()[:4] == b"QFI\xfb"
    assert str(image).encode() in found.disk.read_bytes()

"""The base from memory: one file beside the loader boots, with no slot and no block driver of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.scenarios.boot import booting

from tests.system.conftest import image_of, spec, to_prompt
from tests.variants import one_file_boot

pytestmark = [pytest.mark.system, pytest.mark.h3_ramdisk_test]


def test_one_file_on_an_esp_boots_to_login(tmp_path: Path) -> None:
    disk = one_file_boot(image_of("hetzner"), tmp_path / "esp.img")
    with booting(spec("hetzner"), disk, folder=tmp_path) as running:
        events = to_prompt(running).events
        names = {event.name: event for event in events}
        assert names["loader.slot"].get("slot") == "esp"
        assert names["base.mounted"].get("source") == "ram"

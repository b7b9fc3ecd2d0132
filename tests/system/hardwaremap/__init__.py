"""An independent reading of the machine that QEMU describes, to hold the kernel's `platform.*` events against.

- `firmware.py` takes the DTB and the ACPI tables out of a QEMU of the same options (no guest code runs);
- `devicetree.py` and `acpi.py` derive facts from what dtc and iasl print about them;
- `facts.py` names the facts, reads them from a boot log, and compares.

Nothing here shares code or knowledge with the kernel's own readers beyond `docs/formats/events.md`.
"""

"""Fixed-width fields of the binary formats, and the base of every record that stands for bytes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Frozen and strict: what does not fit its field is refused when the record is made, not when it is written."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", ser_json_bytes="hex", val_json_bytes="hex")


U8 = Annotated[int, Field(ge=0, le=0xFF)]
U16 = Annotated[int, Field(ge=0, le=0xFFFF)]
U32 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
U64 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF_FFFF_FFFF)]
Bytes32 = Annotated[bytes, Field(min_length=32, max_length=32)]
Bytes16 = Annotated[bytes, Field(min_length=16, max_length=16)]
Ascii32 = Annotated[str, Field(max_length=32, pattern=r"^[\x21-\x7e]*$")]
"""A NUL-padded name of 32 bytes: printable ASCII without blanks."""

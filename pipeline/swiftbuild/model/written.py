"""The base of every file that a person writes, and the way its mistakes are told: file, key, what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swiftbuild.errors import InputError


class Written(BaseModel):
    """Frozen; an unknown key is refused, for it is nearly always a misspelled one."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")


Name = Annotated[str, Field(pattern=r"\A[a-z0-9][a-z0-9.+-]*\Z", max_length=64)]
"""Of a package, profile or user: lower case, digits, dot, plus, minus."""
AbsolutePath = Annotated[str, Field(pattern=r"\A(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)+\Z", max_length=1024)]
"""A path inside the image: absolute, without `.`, `..` or empty parts."""
Mode = Annotated[str, Field(pattern=r"\A0?[0-7]{3,4}\Z")]
"""Permission bits in octal, as text: "0755"."""
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\Z")]

M = TypeVar("M", bound=Written)


def parse(model: type[M], data: dict[str, Any], where: str) -> M:
    """The data as a model, or an error that names every wrong key of the file `where`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                problems.append(f"{where}: unknown key '{key}'; known here: {', '.join(_known(model, item['loc']))}")
            else:
                problems.append(f"{where}: {key}: {item['msg'].removeprefix('Value error, ')}")
        raise InputError("\n".join(problems)) from None


def _known(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed in the table that holds the last part of `location`."""
    here: type[BaseModel] = model
    for part in location[:-1]:
        field = here.model_fields.get(str(part))
        if field is not None:
            here = _table(field.annotation) or here
    return [field.alias or name for name, field in here.model_fields.items()]


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Model, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _table(inner)) is not None:
            return found
    return None

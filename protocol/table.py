"""What every table of a robot file has in common."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Positive = Annotated[float, Meta(gt=0.0)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every TOML table: immutable, unknown keys refused."""

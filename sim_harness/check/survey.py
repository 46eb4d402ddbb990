"""Compares a TOML document with the types it is to be decoded by, and names every difference.

The decoder itself stops at the first. What is clearly a slip of the pen is mended on the way, so
that the checks that come after the types can be made as well.
"""

from __future__ import annotations

import contextlib
import functools
import typing
from typing import Any

import msgspec
from msgspec import inspect

from sim_harness.check.expected import choices, described, did_you_mean, written
from sim_harness.check.finding import Fault, Key, dotted
from sim_harness.check.units import converted, number, ours

FLAGS = dict.fromkeys(("yes", "on", "1", "true"), "true")
FLAGS |= dict.fromkeys(("no", "off", "0", "false"), "false")
"""How people write what TOML spells ``true`` and ``false``."""


class Survey:
    """One pass over a document.

    Attributes:
        faults: what is wrong, in the order of the types.
        sound: whether what :meth:`read` returned can be decoded, mended where it has to be.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.sound = True

    def read(self, value: Any, hint: Any, key: Key) -> Any:
        """``value`` as type ``hint`` wants it, as far as that can be guessed."""
        kind = _kind(hint)
        match kind, value:
            case inspect.StructType(), _:
                return self._table(value, kind, key)
            case inspect.UnionType(types=(inspect.StructType(), *_)), dict():
                return self._one_of(value, kind, key)
            case inspect.ListType(item_type=inspect.StructType() as item), list():
                return [self._table(each, item, (*key, i)) for i, each in enumerate(value)]
            case inspect.DictType(value_type=inspect.StructType() as item), dict():
                return {name: self._table(each, item, (*key, name)) for name, each in value.items()}
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert(value, hint)
        return self._refuse(value, hint, kind, key)

    def _table(self, value: Any, kind: inspect.StructType, key: Key) -> Any:
        if not isinstance(value, dict):
            return self._refuse(value, dict, kind, key)
        hints = _hints(kind.cls)
        given = {name: (name, item) for name, item in value.items() if name in hints}
        tag = {name: item for name, item in value.items() if name == kind.tag_field}
        for name in [name for name in value if name not in given and name not in tag]:
            meant = self._foreign(value, name, [*hints], key)
            given.update({right: (name, item) for right, item in meant.items()})
        made = dict(tag)
        for field in kind.fields:
            if field.name in given:
                name, item = given[field.name]
                made[field.name] = self.read(item, hints[field.name], (*key, name))
            elif field.required:
                self._missing(field.name, field.type, key)
        return made

    def _one_of(self, value: dict[str, Any], kind: inspect.UnionType, key: Key) -> Any:
        """One of several tables, told apart by a tag."""
        tables = {each.tag: each for each in kind.types if isinstance(each, inspect.StructType)}
        first = next(iter(tables.values()))
        if len(tables) == 1:
            return self._table(value, first, key)
        name, tags = str(first.tag_field), inspect.LiteralType(tuple(map(str, tables)))
        if name not in value:
            self._missing(name, tags, key)
            return value
        tag = value[name]
        if not isinstance(tag, str) or tag not in tables:
            tag = self._refuse(tag, typing.Any, tags, (*key, name))
        known = isinstance(tag, str) and tag in tables
        return self._table({**value, name: tag}, tables[tag], key) if known else value

    def _foreign(
        self, table: dict[str, Any], name: str, known: list[str], key: Key
    ) -> dict[str, Any]:
        """What an unknown key was most likely meant to be, if that is not there already."""
        value, hint, meant = table[name], "", dict[str, Any]()
        absent = [each for each in known if each not in table]
        units = [(right, unit) for right, unit in ours(name) if right in absent]
        if units and isinstance(value, int | float):
            right, unit = units[0]
            meant = {right: unit.to_si(value)}
            hint = f"{value:g} {unit.name}: write {right} = {number(meant[right])}"
        elif right := did_you_mean(name, absent) or did_you_mean(name, known):
            meant = {right: value} if right in absent else {}
            hint = f"did you mean {right}?"
        else:
            hint = _superfluous(absent, key)
        self.faults.append(Fault((*key, name), f"unknown key {dotted((*key, name))}", hint))
        return meant

    def _missing(self, name: str, kind: inspect.Type, key: Key) -> None:
        path = dotted((*key, name))
        match kind:
            case inspect.StructType() | inspect.UnionType(types=(inspect.StructType(), *_)):
                hint = f"add the table [{path}]"
            case inspect.ListType(item_type=inspect.StructType()):
                hint = f"add [[{path}]], a table for each"
            case inspect.DictType():
                hint = f"add a table [{path}.NAME]"
            case _:
                hint = f"add {name} = …, {described(kind)}"
        self.faults.append(Fault(key, f"{path} is missing", hint))
        self.sound = False

    def _refuse(self, value: Any, hint: Any, kind: inspect.Type, key: Key) -> Any:
        """Note that ``value`` will not do; what was meant, if that can be seen."""
        text = f"{dotted(key)} = {written(value)}: must be {described(kind)}"
        meant, advice = self._meant(value, hint, kind, key)
        self.faults.append(Fault(key, text, advice))
        self.sound &= bool(advice)
        return meant

    def _meant(self, value: Any, hint: Any, kind: inspect.Type, key: Key) -> tuple[Any, str]:
        """A value that would do and the advice to write it; no advice if there is none."""
        if isinstance(kind, inspect.BoolType) and (flag := FLAGS.get(str(value).lower())):
            return flag == "true", f"write {flag}"
        if isinstance(value, str) and (word := did_you_mean(value, choices(kind))):
            return word, f"did you mean {written(word)}?"
        if isinstance(value, str):
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.convert(value, hint, strict=False), f"without quotes: {value}"
        for unit, si in converted(str(key[-1]) if key else "", value):
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.convert(si, hint), f"{value:g} {unit.name}? write {number(si)}"
        return value, ""


def _superfluous(absent: list[str], key: Key) -> str:
    """What to do with a key that means nothing in the table ``key``, which lacks ``absent``."""
    table = dotted(key) or "the robot file"
    if not absent:
        return f"take it out; {table} has every key it can have"
    return f"take it out; what {table} can have and has not: {', '.join(absent)}"


@functools.cache
def _kind(hint: Any) -> inspect.Type:
    """A type as msgspec sees it."""
    return inspect.type_info(hint)


@functools.cache
def _hints(table: type) -> dict[str, Any]:
    """The types of a table's keys, in order."""
    return typing.get_type_hints(table, include_extras=True)

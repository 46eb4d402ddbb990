"""Does `wombet-sim check` find fault with exactly the documents that the decoder refuses?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.robot_spec import RobotSpec
from sim_harness.check.finding import Key, dotted
from sim_harness.check.places import tomllib
from sim_harness.check.survey import Survey

CONFIGS = Path(__file__).parents[2] / "hw_configs"
ROBOTS = [
    tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    for name in ("furuta", "arm5", "furuta_mcu")
]
VALUES = st.one_of(
    st.integers(-5, 10_000),
    st.floats(-1e7, 1e7),
    st.booleans(),
    st.sampled_from(["", "arm", "current", "position", "7", "true"]),
    st.lists(st.floats(-1.0, 1.0), max_size=3),
    st.just({}),
)


def keys(value: Any, key: Key = ()) -> Iterator[Key]:
    """The way to every value of a document but the document itself."""
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*key, step)
        if isinstance(item, dict | list):
            yield from keys(item, (*key, step))


@st.composite
def slips(draw: st.DrawFn) -> dict[str, Any]:
    """A robot with up to three values replaced, left out, or under another name."""
    document = copy.deepcopy(draw(st.sampled_from(ROBOTS)))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([*keys(document)]))
        table: Any = document
        for step in way:
            table = table[step]
        match draw(st.sampled_from(["replace", "drop", "rename"])):
            case "replace":
                table[last] = draw(VALUES)
            case "drop":
                del table[last]
            case _ if isinstance(table, dict):
                table[f"{last}_x"] = table.pop(last)
    return document


@settings(deadline=None)
@given(slips())
def test_the_survey_and_the_decoder_agree(document: dict[str, Any]) -> None:
    try:
        msgspec.convert(document, RobotSpec)
        refused = False
    except msgspec.ValidationError:
        refused = True
    survey = Survey()
    mended = survey.read(document, RobotSpec, ())
    assert bool(survey.faults) == refused
    if survey.sound:
        msgspec.convert(mended, RobotSpec)


@pytest.mark.parametrize("document", ROBOTS, ids=["furuta", "arm5", "furuta_mcu"])
def test_a_sound_document_is_left_as_it_is(document: dict[str, Any]) -> None:
    survey = Survey()
    assert msgspec.convert(survey.read(document, RobotSpec, ()), RobotSpec) == msgspec.convert(
        document, RobotSpec
    )
    assert not survey.faults


@pytest.mark.parametrize("tag", [{}, [], 1, None])
def test_a_tag_may_be_anything(tag: Any) -> None:
    """Hypothesis found the table: it cannot be looked up among words."""
    document = copy.deepcopy(ROBOTS[0])
    document["action"]["mode"] = tag
    survey = Survey()
    survey.read(document, RobotSpec, ())
    assert [dotted(fault.key) for fault in survey.faults] == ["action.mode"]

"""Is every key of a TOML document found on the line where it stands?"""

from __future__ import annotations

import pytest

from sim_harness.check.finding import Key, dotted
from sim_harness.check.places import Places, line_of_error, tomllib

TEXT = """# a comment
top = 1

[one]  # header
a = "x # no comment"
many = [
  1,
  2,  # with comments
]
long = '''
[not.a.table]
b = 3
'''
in.side = 4
inline = { c = 5, d = [6] }

[[two]]
a = 7
[two.sub]
a = 8
[[two.subs]]
a = 9
[[two.subs]]
a = 10
[[two]]
a = 11
[["quoted.name"]]
a = 12
"""
WHERE: dict[Key, int] = {
    ("top",): 2,
    ("one",): 4,
    ("one", "a"): 5,
    ("one", "many", 1): 6,
    ("one", "long"): 10,
    ("one", "in", "side"): 14,
    ("one", "inline", "d", 0): 15,
    ("two",): 17,
    ("two", 0): 17,
    ("two", 0, "a"): 18,
    ("two", 0, "sub", "a"): 20,
    ("two", 0, "subs", 0, "a"): 22,
    ("two", 0, "subs", 1): 23,
    ("two", 0, "subs", 1, "a"): 24,
    ("two", 1, "a"): 26,
    ("quoted.name", 0, "a"): 28,
}


@pytest.mark.parametrize("key", WHERE, ids=dotted)
def test_a_key_is_found_on_its_line(key: Key) -> None:
    assert Places(TEXT).line(key) == WHERE[key]


@pytest.mark.parametrize(
    ("key", "line"), [(("one", "missing"), 4), (("two", 1, "missing"), 25), (("nowhere", "a"), 1)]
)
def test_what_is_missing_is_found_at_its_table(key: Key, line: int) -> None:
    assert Places(TEXT).line(key) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \nc = 3\n", 2),
        ("a = 1\nb = [1,\n2\nc = 3\n", 2),
        ("a = 1\n\nb = '''\nc\n", 3),
        ("a = 1\na = 2\n", 2),
    ],
)
def test_what_is_no_toml_is_found_where_it_begins(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert line_of_error(text, caught.value) == line

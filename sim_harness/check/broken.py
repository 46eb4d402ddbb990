"""What a file that is no TOML or no XML is about: the place, and what is most likely missing."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from xml.parsers import expat

from sim_harness.check.finding import Finding, dotted
from sim_harness.check.places import error_text, given_twice, line_of_error

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOO_DEEP = "not TOML that can be read: nested too deeply"
DEEP_HINT = "take out the brackets that are too many"
_STATEMENT = "a line is KEY = VALUE, [TABLE], [[TABLE]] or # COMMENT"
_TOML_HINTS = {
    "Unclosed array": "write the ] that closes it, after its last value",
    "Unclosed inline table": "write the } that closes it, on the same line",
    "Unterminated string": "write the quotes that close it",
    "Illegal character '\\n'": "write the quotes that close it, on the same line",
    "Invalid value": 'text is in quotes, "…"; numbers have no unit; flags are true and false',
    "Expected ']": "write the brackets that close it: [TABLE], or [[TABLE]]",
    "Expected '='": _STATEMENT,
    "Expected newline": "write what follows the value on a line of its own, or after #",
    "Duplicate inline table key": "keep one of the two",
}
_TAG_ATTRIBUTES = 'an element is <TAG NAME="VALUE"/>; in values & is &amp; and < is &lt;'
_XML_HINTS = {
    expat.errors.XML_ERROR_DUPLICATE_ATTRIBUTE: "keep one of the two",
    expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT: "all belongs into one <mujoco> … </mujoco>",
}
_CLOSED = re.compile(rb"(?:</)?\s*([^\s<>/]+)")
_LEFT_OPEN = (
    expat.errors.XML_ERROR_TAG_MISMATCH,
    expat.errors.XML_ERROR_NO_ELEMENTS,
)


def toml_finding(robot: Path, text: str, error: tomllib.TOMLDecodeError) -> Finding:
    """Where and why ``text`` of the file ``robot`` is no TOML, and what may help."""
    line, said = line_of_error(text, error), error_text(error)
    if said.startswith("Cannot ") and (twice := given_twice(text, line)):
        hint = f"line {twice.first} has it already; keep one of the two"
        return Finding(robot, twice.again, f"not TOML: {dotted(twice.key)} is given twice", hint)
    hints = (hint for begin, hint in _TOML_HINTS.items() if said.startswith(begin))
    return Finding(robot, line, f"not TOML: {said}", next(hints, _STATEMENT))


def xml_finding(path: Path, error: expat.ExpatError) -> Finding:
    """Where and why the file ``path`` is no XML, and what may help."""
    said = expat.ErrorString(error.code)
    hint = _XML_HINTS.get(said, _TAG_ATTRIBUTES)
    if said in _LEFT_OPEN and (tags := _open_tags(path)):
        hint = _nesting_hint(tags, _closed(path, error))
    return Finding(path, error.lineno, f"not XML: {said}", hint)


def _nesting_hint(tags: list[tuple[str, int]], closed: str) -> str:
    """For ``closed`` where ``tags`` are open; it is empty at the end of the file."""
    tag, line = tags[-1]
    if closed and closed not in [name for name, _ in tags]:
        return f"no <{closed}> is open here; take out </{closed}>"
    return f"<{tag}> of line {line} is not closed; write </{tag}> before this"


def _closed(path: Path, error: expat.ExpatError) -> str:
    """The tag that is closed where ``error`` is; empty if none is."""
    lines = path.read_bytes().splitlines()[error.lineno - 1 : error.lineno]
    found = _CLOSED.match(b"".join(lines)[error.offset :])
    return found[1].decode(errors="replace") if found else ""


def _open_tags(path: Path) -> list[tuple[str, int]]:
    """Tags, and their lines, that are open where XML ends to be XML; the innermost last."""
    found: list[tuple[str, int]] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, _: found.append((tag, parser.CurrentLineNumber))
    parser.EndElementHandler = lambda _: found.pop()
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(path.read_bytes(), True)
    return found

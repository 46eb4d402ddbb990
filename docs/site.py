"""Two things the site's generator does not do by itself; see mkdocs.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):(?=<code>)")


def on_config(config: Any) -> Any:
    """Give every page its place: decisions by their number, and what nobody placed after them."""
    docs = Path(config.docs_dir)
    known = {*_placed(config.nav)}
    left = [path for path in sorted(docs.rglob("*.md")) if str(path.relative_to(docs)) not in known]
    sections = {
        "Decisions": [path for path in left if path.parent.name == "adr"],
        "More": [path for path in left if path.parent.name != "adr"],
    }
    for name, paths in sections.items():
        pages = [{_title(path): str(path.relative_to(docs))} for path in paths]
        config.nav[-1:-1] = [{name: pages}] if pages else []
    return config


def on_page_content(html: str, **_: Any) -> str:
    """A docstring's ``:class:`` before a name says nothing to who reads a page."""
    return _ROLE.sub("", html)


def _placed(nav: Any) -> Iterator[str]:
    """The pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from _placed(each)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")

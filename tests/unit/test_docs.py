"""Does every link of the documents lead somewhere, and has every page its place on the site?"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_pages_that_nobody_placed_get_a_place(tmp_path: Path) -> None:
    (tmp_path / "adr").mkdir()
    for name in ("index", "new", "adr/0002-b", "adr/0001-a"):
        (tmp_path / f"{name}.md").write_text(f"# About {name}\n")
    config = SimpleNamespace(docs_dir=str(tmp_path), nav=[{"Home": "index.md"}, {"Last": []}])
    found = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    assert found is not None
    assert found.loader is not None
    hooks = importlib.util.module_from_spec(found)
    found.loader.exec_module(hooks)
    assert hooks.on_config(config).nav == [
        {"Home": "index.md"},
        {
            "Decisions": [
                {"About adr/0001-a": "adr/0001-a.md"},
                {"About adr/0002-b": "adr/0002-b.md"},
            ]
        },
        {"More": [{"About new": "new.md"}]},
        {"Last": []},
    ]
    assert hooks.on_page_content("<p>:class:<code>X</code></p>") == "<p><code>X</code></p>"

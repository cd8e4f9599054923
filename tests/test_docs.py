"""Every Python snippet of the README and the docs runs, but those marked `no-run`, which must at least compile."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```python([^\n]*)\n(.*?)^```", re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # the user's own indexes are left alone; the models, which are in the cache too, stay where they are
    monkeypatch.setattr("sayso.tools.documents.index.cache_root", lambda: tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for mark, source in FENCE.findall(page.read_text()):
        filename = f"{page.name}:{source.splitlines()[0] if source else ''}"
        if "no-run" in mark:
            compile(source, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        else:
            exec(compile(source, filename, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"

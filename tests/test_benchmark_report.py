"""The helper that benchmarks share."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "report.py"


@pytest.fixture
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_report", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_printed_and_written_with_the_machine(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"what": "a", "median_us": 1.23456}, {"what": "b", "p95_us": 2}]
    file = report.write("trial", rows, ["a note"], results=tmp_path / "results")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["rows"] == rows and content["notes"] == ["a note"]
    assert content["machine"]["cpu"] and content["machine"]["cores"] >= 1 and content["machine"]["python"]
    printed = capsys.readouterr().out
    assert "1.23" in printed and "p95_us" in printed and "a note" in printed

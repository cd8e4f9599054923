# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""The benchmark of token to wave runs, at tiny sizes."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
pytest.importorskip("onnx", reason="needs the extra step-audio")
pytest.importorskip("onnxruntime", reason="needs the extra step-audio")

sys.path.insert(0, str(Path(__file__).parents[1]))  # `benchmarks` is no part of the package

from benchmarks import token2wav


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_it_prints_and_writes_a_line_for_each_measurement(tmp_path, capsys):
    token2wav.main(["--device", "cpu", "--streams", "1", "2", "--repeats", "1"], results=tmp_path)
    rows = json.loads((tmp_path / "token2wav_tiny_cpu.json").read_text())["rows"]
    assert [(r["shapes"], r["what"], r["streams"], r["sound s each"]) for r in rows] == [
        (shapes, *line)
        for shapes in ("exact", "fixed")
        for line in (
            ("first chunk of 10 tokens", 1, 0.24),
            ("first chunk of 25 tokens", 1, 0.84),
            ("later chunk", 1, 1.0),
            ("later chunk", 2, 1.0),
        )
    ]
    assert "tiny networks with random weights" in capsys.readouterr().out

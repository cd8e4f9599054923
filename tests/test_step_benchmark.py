# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""The benchmark of Step-Audio 2 runs, at tiny sizes."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
for package in ("xgrammar", "tokenizers", "transformers"):
    pytest.importorskip(package, reason="needs the extra step-audio")

sys.path.insert(0, str(Path(__file__).parents[1]))  # `benchmarks` is no part of the package

from benchmarks.step_audio import __main__ as command
from benchmarks.step_audio.bench import Bench, Figure, timed
from benchmarks.step_audio.decoding import cached, floor_bytes, qwen2
from benchmarks.step_audio.sessions import Playout, playout

ALONE = "bandwidth,decode,transformers,drawing,prefill,encode,token2wav,weights"
TALKING = "first_audio,tool_turn,growth,sessions"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(folder, *arguments):
    file = folder / "rows.json"
    returned = command.main(["--device", "cpu", "--out", str(file), *arguments])
    rows = json.loads(file.read_text())["rows"]
    assert rows == returned
    return rows


def check(rows, names):
    assert list(dict.fromkeys(row["row"] for row in rows)) == names.split(",")
    for row in rows:
        assert row["unit"] != "failed", row["what"]
        assert row["p50"] > 0, row
        assert row["p95"] is None or row["p95"] >= row["p50"]


def test_every_row_that_needs_no_words(tmp_path, capsys):
    rows = run(tmp_path, "--only", ALONE)
    check(rows, ALONE)
    assert "tiny networks with random weights" in capsys.readouterr().out
    by_row = {row["row"]: row for row in rows}
    assert by_row["decode"]["more"].keys() >= {"ids a second", "floor ms", "share of the bandwidth"}
    assert [row["target"] for row in rows if row["row"] == "decode"] == [6.0, 6.0]
    assert [row["what"].split()[3] for row in rows if row["row"] == "weights"] == [
        "bfloat16",
        "int8",
        "float16",
        "float32",
    ]


def test_every_row_that_talks(tmp_path, checkpoint_files):
    rows = run(tmp_path, "--only", TALKING, "--seconds", "1", "--tokenizer", str(checkpoint_files))
    for row in rows:  # a slow machine may keep up with nobody
        if row["row"] == "sessions" and row["unit"] in ("%", "sessions"):
            row["p50"] += 1
    check(rows, TALKING)
    assert [row["target p95"] for row in rows if row["row"] == "first_audio"] == [300.0, 300.0]
    whole = next(row for row in rows if row["row"] == "growth")["more"]
    assert whole["early: positions computed"] == whole["late: positions computed"]


def test_a_row_that_fails_says_so_and_the_others_go_on(tmp_path, capsys):
    rows = run(tmp_path, "--only", "first_audio,bandwidth", "--tokenizer", str(tmp_path))
    assert [(row["row"], row["unit"], row["p50"] is None) for row in rows] == [
        ("first_audio", "failed", True),
        ("bandwidth", "GB/s", False),
    ]
    assert "Error" in rows[0]["what"]
    with pytest.raises(SystemExit):
        command.main(["--only", "bandwidths"])
    assert "no row 'bandwidths'" in capsys.readouterr().err


def test_figures_reach_their_targets_or_not():
    assert Figure("", 5.0, target=6.0).row("")["reached"] is True
    assert Figure("", 5.0, 9.0, target=6.0, target_p95=8.0).row("")["reached"] is False
    assert Figure("", 1.9, target=2.0, at_least=True).row("")["reached"] is False
    assert Figure("", 1.9).row("")["reached"] is None
    figure = timed("", [0.001, 0.002, 0.009])
    assert figure.p50 == 2.0 and figure.p95 == pytest.approx(8.3)


def test_sound_is_played_as_it_comes():
    in_time = [(0.5, 1.0), (1.2, 1.0), (2.5, 1.0)]
    assert playout(in_time, 3.0, 9.0) == Playout(0.5, 1.0, 0)
    late = [(0.5, 1.0), (2.0, 1.0)]
    assert playout(late, 2.0, 9.0) == Playout(0.5, pytest.approx(2.0 / 2.5), 1)
    cut_off = [(0.5, 1.0)]
    assert playout(cut_off, 2.0, 2.5) == Playout(0.5, 0.5, 1)
    assert playout([], 2.0, 2.5) == Playout(2.5, 0.0, 1)


def test_transformers_has_the_decoders_own_memory():
    networks = Bench(torch.device("cpu"), tiny=True, tokenizer=Path(), seconds=1, scratch=Path()).networks
    model = qwen2(networks)
    held = {tensor.untyped_storage().data_ptr() for tensor in networks.decoder.state_dict().values()}
    assert {tensor.untyped_storage().data_ptr() for tensor in model.parameters()} <= held
    ids = torch.randint(0, 1000, (9,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = model(ids[None]).logits[0, -1]
    ours = cached(networks.decoder, 1, 32).prefill(0, ids, 0)
    torch.testing.assert_close(ours, theirs, atol=0.2, rtol=0)
    one, two = floor_bytes(networks.decoder, 0), floor_bytes(networks.decoder, 1)
    assert one < sum(tensor.numel() * 2 for tensor in networks.decoder.state_dict().values())
    assert two - one == 2 * 2 * 2 * 16 * 2  # keys and values, layers, heads, width, bytes

# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Each fault that a checkpoint's folder can have, through the command line: one line, the file, the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra step-audio")
safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra step-audio")
pytest.importorskip("xgrammar", reason="needs the extra step-audio")
pytest.importorskip("onnx", reason="needs the extra step-audio")

from sayso.cli import main
from sayso.models.step_audio2.checkpoint import INDEX_FILE

QUERY = "model.layers.1.self_attn.q_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4930000000\n"
TOOL = """
from sayso import tool

@tool(effect="read")
def now() -> str:
    'The time.'
    return "one"
"""
PULL = "sayso models pull step-audio-2-mini"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAYSO_DATA", str(tmp_path / "data"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def config(change: Callable[[Any], object]) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "config.json", change)


def stored(tensor: Any) -> Callable[[Path], object]:
    """Another tensor in place of one of the decoder's matrices."""

    def change(folder: Path) -> None:
        path = folder / json.loads((folder / INDEX_FILE).read_text())["weight_map"][QUERY]
        tensors = {name: value.clone() for name, value in safetensors.load_file(path).items()} | {QUERY: tensor}
        safetensors.save_file(tensors, path)

    return change


def without(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def holding(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1000])


def a_file_instead(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


SHARD = "model-00002-of-00002.safetensors"
FAULTS: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("a missing shard", without(SHARD), f"lacks 1 file: {SHARD}", PULL),
    ("a wrong shape", stored(torch.zeros(64, 63)), r"q_proj.weight has the shape (64, 63), and by", PULL),
    ("bytes as weights", stored(torch.zeros(64, 64, dtype=torch.uint8)), "holds numbers of type U8", "bfloat16"),
    ("float64 weights", stored(torch.zeros(64, 64).double()), "holds numbers of type F64", "bfloat16"),
    (
        "a tied head",
        lambda folder: edit(folder / INDEX_FILE, lambda values: values["weight_map"].pop("lm_head.weight")),
        f"{INDEX_FILE} has no lm_head.weight: it was saved with the head tied",
        "tie_word_embeddings",
    ),
    ("an old config", config(lambda v: v["text_config"].pop("num_key_value_heads")), "config.json lacks text", PULL),
    (
        "a newer config",
        config(lambda v: v["text_config"].update(rope_parameters={"rope_type": "yarn", "rope_theta": 1e6})),
        "config.json: rotary scaling 'yarn'",
        PULL,
    ),
    ("a newer model", config(lambda v: v.update(model_type="step_audio_3")), "config.json is of the model", "Name"),
    ("a broken config", holding("config.json", "{"), "config.json cannot be read as JSON", PULL),
    ("no config", without("config.json"), "holds no config.json", PULL),
    ("no folder", shutil.rmtree, "is no folder", PULL),
    ("a file", a_file_instead, "is no folder", PULL),
    ("no index", without(INDEX_FILE), f"holds neither {INDEX_FILE} nor", PULL),
    ("a broken index", holding(INDEX_FILE, b"\xff\xfe"), f"{INDEX_FILE} is no index", PULL),
    ("a shard cut short", cut(SHARD), f"{SHARD} is damaged or cut short", PULL),
    ("a shard of junk", holding(SHARD, b"\xff" * 4096), f"{SHARD} is damaged", PULL),
    ("a shard's pointer", holding(SHARD, POINTER), f"{SHARD} is a pointer of Git LFS", "git lfs pull"),
    ("no vocab.json", without("vocab.json"), "has no vocab.json", PULL),
    ("no merges.txt", without("merges.txt"), "has no merges.txt", PULL),
    ("no tokenizer_config.json", without("tokenizer_config.json"), "has no tokenizer_config.json", PULL),
    ("a broken vocab.json", holding("vocab.json", "["), "vocab.json is no tokenizer file", PULL),
    ("merges of another", holding("merges.txt", "Q zz\n"), "merges.txt is no tokenizer file", PULL),
    ("no token2wav", without("token2wav"), "flow.yaml is not there", PULL),
    *((f"no {name}", without(f"token2wav/{name}"), f"{name} is not there", PULL) for name in
      ("flow.yaml", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v2_25hz.onnx")),
    ("a flow.yaml of junk", holding("token2wav/flow.yaml", "- 1\n"), "flow.yaml", PULL),
    ("a flow.pt of junk", holding("token2wav/flow.pt", b"junk"), "flow.pt cannot be read", PULL),
    ("a flow.pt cut short", cut("token2wav/flow.pt"), "flow.pt cannot be read", PULL),
    ("a hift.pt's pointer", holding("token2wav/hift.pt", POINTER), "hift.pt is a pointer of Git LFS", "git lfs pull"),
    ("a campplus.onnx of junk", holding("token2wav/campplus.onnx", b"junk"), "campplus.onnx cannot be run", PULL),
]  # fmt: skip


def ask(folder: Path, place: Path) -> int:
    tools = place / "tools.py"
    tools.write_text(TOOL)
    options = ["--instructions", "", "--tools", str(tools), "--out", str(place / "reply.wav")]
    return main(["ask", "--text", "Hi", *options, "--model", str(folder)])


@pytest.mark.parametrize(("change", "told", "remedy"), [one[1:] for one in FAULTS], ids=[one[0] for one in FAULTS])
def test_a_fault_is_told_in_one_line(
    small_checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Path], object],
    told: str,
    remedy: str,
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(small_checkpoint, folder)
    change(folder)
    code = ask(folder, tmp_path)
    captured = capfd.readouterr()
    assert code in (1, 2)
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert told in captured.err and remedy in captured.err and str(folder) in captured.err
    assert len(captured.err) < 500 and "Traceback" not in captured.err
    assert captured.out == ""


def test_too_little_memory_is_told_before_anything_is_loaded(
    small_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sayso.models.step_audio2.checkpoint.free_memory", lambda device: 1_000_000)
    assert ask(small_checkpoint, tmp_path) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert str(small_checkpoint) in error and "GB free" in error and "int8" in error


def test_a_whole_folder_answers(small_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = ask(small_checkpoint, tmp_path)
    captured = capfd.readouterr()
    assert (code, captured.err) == (0, "")
    assert captured.out.startswith("heard   Hi")

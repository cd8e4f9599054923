# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""A checkpoint folder: what it must hold, each fault it can have, and that every weight lands where it belongs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sayso.cli import main
from sayso.errors import ModelMissingError, SaysoError, UsageError

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
from sayso.models.step_audio2.checkpoint import INDEX_FILE, free_memory, inspect, load
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import KvCache
from sayso.models.step_audio2.layout import EMBEDDING, HEAD, layout
from sayso.models.step_audio2.networks import Networks, quantize_rows, weight_bytes
from sayso.models.step_audio2.random_weights import random_networks, write_random
from sayso.models.step_audio2.token2wav.flow import Flow
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.sizes import FlowSizes, HiftSizes

SMALL = StepAudio2Config.tiny(vocab_size=96)
MINI = StepAudio2Config.mini()
QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random(tmp_path / "checkpoint", SMALL)


@pytest.fixture(scope="session")
def public_files() -> Path:
    """The small files of the public checkpoint, which are not committed."""
    folder = Path(os.environ.get("SAYSO_SHARED", "../shared")) / "step-audio-2-mini"
    if not folder.is_dir():
        pytest.skip(f"the public checkpoint's small files are not at {folder}")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = read(path)
    change(values)
    write(path, values)


def shard_of(folder: Path, name: str) -> Path:
    return folder / read(folder / INDEX_FILE)["weight_map"][name]


def edit_shard(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = shard_of(folder, name)
    tensors = {key: tensor.clone() for key, tensor in safetensors.load_file(path).items()}
    change(tensors)
    safetensors.save_file(tensors, path)


def fault(folder: Path, **options: Any) -> SaysoError:
    """The error for this folder: one line, with a hint."""
    with pytest.raises(SaysoError) as caught:
        load(folder, **options)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


# --- the public checkpoint --------------------------------------------------------------------------------------


def test_the_full_size_has_the_published_tensors() -> None:
    places = layout(MINI)
    assert len(places) == 832
    sizes = {part: 0 for part in ("model", "lm_head", "encoder", "adapter")}
    for name, place in places.items():
        sizes[name.split(".")[0]] += place.size
    assert sizes == {"model": 7_094_474_240, "lm_head": 568_852_480, "encoder": 636_968_960, "adapter": 14_883_584}
    assert places[EMBEDDING].shape == (158_720, 3584)
    assert places["encoder.conv1.weight"].shape == (1280, 128, 3)
    assert places["encoder.positional_embedding.weight"].shape == (1500, 1280)
    assert places["model.layers.27.self_attn.k_proj.bias"].shape == (512,)
    assert places["adapter.linear2.weight"].shape == (3584, 2048)
    assert "encoder.blocks.0.attn.key.bias" not in places


def test_the_public_index_and_config_are_read(public_files: Path) -> None:
    assert StepAudio2Config.read(public_files) == MINI
    index = read(public_files / INDEX_FILE)
    assert set(index["weight_map"]) == set(layout(MINI))
    assert index["metadata"]["total_size"] == weight_bytes(MINI, torch.bfloat16)
    error = fault(public_files)
    assert "lacks 4 files: model-00001-of-00004.safetensors" in str(error)
    assert "sayso models pull step-audio-2-mini" in error.hint


def test_every_tensor_has_a_place_of_its_own_at_full_size() -> None:
    tensors = Networks.empty(MINI, "meta", torch.bfloat16).state_dict()
    rows: dict[str, list[tuple[int, int]]] = {}
    for place in layout(MINI).values():
        assert tensors[place.target].shape[1:] == place.shape[1:]
        rows.setdefault(place.target, []).append((place.row, place.row + place.shape[0]))
    assert rows.keys() == tensors.keys()
    for target, taken in rows.items():
        if target.startswith("encoder.") and target.endswith("qkv.bias"):
            taken.append((1280, 2560))  # the key has none
        ends = [0, *(end for _, end in sorted(taken))]
        assert ends == [*(start for start, _ in sorted(taken)), tensors[target].shape[0]]


def test_memory_that_the_weights_take() -> None:
    assert weight_bytes(MINI, torch.bfloat16) == weight_bytes(MINI, torch.float16) == 16_630_358_528
    assert weight_bytes(MINI, torch.float32) == 33_260_717_056
    assert round(weight_bytes(MINI, torch.bfloat16, int8=True) / 1e9, 1) == 9.5
    for int8 in (False, True):
        held = random_networks(SMALL, int8=int8).state_dict().values()
        added = 2 * 32 * torch.bfloat16.itemsize  # the zeros for the keys' biases
        assert sum(one.nbytes for one in held) == weight_bytes(SMALL, torch.bfloat16, int8=int8) + added


def test_the_memory_in_the_docs_is_what_the_sizes_come_to() -> None:
    with torch.device("meta"):
        speaks = sum(
            one.nbytes for part in (Flow(FlowSizes()), Vocoder(HiftSizes())) for one in part.state_dict().values()
        )
    page = (Path(__file__).parent.parent / "docs" / "step-audio.md").read_text()
    rows = [
        ("`bfloat16`, `float16`", torch.bfloat16, False),
        ("`float32`", torch.float32, False),
        ("`bfloat16` with `int8=True`", torch.bfloat16, True),
        ("`float32` with `int8=True`", torch.float32, True),
    ]
    for name, dtype, int8 in rows:
        held = sum(one.nbytes for one in Networks.empty(MINI, "meta", dtype, int8=int8).state_dict().values())
        cache = KvCache.allocate(MINI.decoder, slots=9, max_length=8192, device=torch.device("meta"), dtype=dtype)
        cached = cache.keys.nbytes + cache.values.nbytes
        figures = " | ".join(f"{size / 1e9:.1f}" for size in (held, cached, speaks, held + cached + speaks))
        assert f"| {name} | {figures} |" in page, figures
    assert KvCache.bytes_per_position(MINI.decoder, torch.bfloat16) == 57_344


# --- config -----------------------------------------------------------------------------------------------------


def test_a_config_survives_its_own_writing() -> None:
    for config in (SMALL, MINI):
        assert StepAudio2Config.parse(config.to_json()) == config


def test_unknown_keys_and_the_newer_spelling_are_read() -> None:
    values = SMALL.to_json() | {"dtype": "bfloat16", "transformers_version": "5.23.0", "later": {"a": 1}}
    text = values["text_config"]
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    del text["rope_scaling"], text["num_attention_groups"], values["tie_word_embeddings"]
    assert StepAudio2Config.parse(values) == SMALL


def test_missing_keys_are_named_together(folder: Path) -> None:
    def old(values: Any) -> None:
        del values["text_config"]["num_key_value_heads"], values["audio_encoder_config"]["llm_dim"]

    edit(folder / "config.json", old)
    error = fault(folder)
    assert "config.json lacks text_config.num_key_value_heads, audio_encoder_config.llm_dim." in str(error)
    edit(folder / "config.json", lambda values: values.pop("audio_encoder_config"))
    assert "lacks audio_encoder_config, text_config.num_key_value_heads." in str(fault(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(model_type="qwen2_audio"), "model type 'qwen2_audio'"),
        (lambda v: v.pop("model_type"), "model type None"),
        (lambda v: v.update(text_config=[]), "text_config is no JSON object"),
        (lambda v: v["text_config"].update(hidden_size="64"), "text_config.hidden_size is '64'"),
        (lambda v: v["text_config"].update(hidden_size=64.5), "not a whole number"),
        (lambda v: v["text_config"].update(num_hidden_layers=0), "num_hidden_layers is 0"),
        (lambda v: v["text_config"].update(num_attention_groups=4), "num_attention_groups 4 differs"),
        (lambda v: v["text_config"].update(num_attention_heads=3), "does not divide into 3 heads"),
        (lambda v: v["text_config"].update(num_key_value_heads=3, num_attention_groups=3), "into 3 groups"),
        (lambda v: v["text_config"].update(rope_scaling={"type": "yarn"}), "yarn"),
        (lambda v: v["text_config"].update(rope_parameters={"rope_type": "yarn", "rope_theta": 1e6}), "yarn"),
        (lambda v: v["text_config"].update(use_sliding_window=True), "sliding"),
        (lambda v: v["audio_encoder_config"].update(llm_dim=32), "llm_dim 32 differs from hidden_size 64"),
        (lambda v: v["audio_encoder_config"].update(n_audio_head=3), "does not divide into 3 heads"),
    ],
)
def test_a_config_that_cannot_be_says_why(folder: Path, change: Any, message: str) -> None:
    edit(folder / "config.json", change)
    error = fault(folder)
    assert message in str(error) and "config.json" in str(error)


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_a_config_that_is_no_json_object(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, errors="surrogateescape")
    assert "config.json" in str(fault(folder))


# --- files ------------------------------------------------------------------------------------------------------


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    assert "is no folder" in str(fault(tmp_path / "nowhere"))
    assert "holds no config.json" in str(fault(tmp_path))


def test_no_index(folder: Path) -> None:
    (folder / INDEX_FILE).unlink()
    assert isinstance(fault(folder), ModelMissingError)
    assert INDEX_FILE in str(fault(folder))


@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": 3}', "{}"])
def test_an_index_that_is_none(folder: Path, content: str) -> None:
    (folder / INDEX_FILE).write_text(content)
    assert "is no index of a checkpoint" in str(fault(folder))


def test_an_index_that_points_out_of_the_folder(folder: Path) -> None:
    edit(folder / INDEX_FILE, lambda values: values["weight_map"].update({QUERY: "../elsewhere.safetensors"}))
    assert "'../elsewhere.safetensors', which is no file beside it" in str(fault(folder))


def test_a_missing_shard_is_named(folder: Path) -> None:
    path = shard_of(folder, QUERY)
    path.unlink()
    assert f"lacks 1 file: {path.name}." in str(fault(folder))


def test_a_pointer_in_place_of_a_shard(folder: Path) -> None:
    shard_of(folder, QUERY).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4930000000\n")
    error = fault(folder)
    assert "Git LFS" in str(error) and "git lfs pull" in error.hint


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_shard_that_is_cut_short(folder: Path, size: int) -> None:
    path = shard_of(folder, QUERY)
    path.write_bytes(path.read_bytes()[:size])
    assert f"{path.name} is damaged or cut short" in str(fault(folder))


def test_a_tied_head_is_named_as_such(folder: Path) -> None:
    edit(folder / INDEX_FILE, lambda values: values["weight_map"].pop(HEAD))
    error = fault(folder)
    assert "has no lm_head.weight" in str(error) and "tie_word_embeddings" in error.hint


def test_missing_tensors_are_named(folder: Path) -> None:
    def cut(values: Any) -> None:
        for name in [name for name in values["weight_map"] if name.startswith("model.layers.1.")]:
            del values["weight_map"][name]

    edit(folder / INDEX_FILE, cut)
    assert "lacks 12 tensors: model.layers.1.input_layernorm.weight, " in str(fault(folder))
    assert "and 9 more" in str(fault(folder))


def test_a_tensor_that_the_shard_lacks(folder: Path) -> None:
    edit_shard(folder, QUERY, lambda tensors: tensors.pop(QUERY))
    assert f"lacks 1 tensor: {QUERY} that the index says it has" in str(fault(folder))


def test_a_wrong_shape_is_named_with_both(folder: Path) -> None:
    edit_shard(folder, QUERY, lambda tensors: tensors.update({QUERY: torch.zeros(64, 63)}))
    error = fault(folder)
    assert f"{shard_of(folder, QUERY).name}: {QUERY} has the shape (64, 63)" in str(error)
    assert "config.json it should be (64, 64)" in str(error)


def test_weights_that_somebody_else_rounded(folder: Path) -> None:
    edit_shard(folder, QUERY, lambda tensors: tensors.update({QUERY: torch.zeros(64, 64, dtype=torch.uint8)}))
    assert f"{QUERY} holds numbers of type U8" in str(fault(folder))


def test_too_little_memory_is_known_before_loading(folder: Path) -> None:
    error = fault(folder, free_bytes=1000)
    assert isinstance(error, UsageError)
    assert "cpu has 0.0 GB free" in str(error) and "int8" in error.hint
    fits = weight_bytes(SMALL, torch.bfloat16)
    assert load(folder, free_bytes=fits).config == SMALL
    assert "beside 2.5 GB for the cache" in str(fault(folder, free_bytes=fits, reserve_bytes=2_500_000_000))
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 10**6


@pytest.mark.parametrize("device", ["cuda:77", "no-such-device"])
def test_a_device_that_is_not_here(folder: Path, device: str) -> None:
    assert f"no device '{device}'" in str(fault(folder, device=device))


# --- loading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_tensor_lands_where_it_belongs(folder: Path, dtype: Any) -> None:
    networks = load(folder, dtype=dtype)
    found = inspect(folder)
    assert len(found.shards) > 1 and found.unused == ()
    stored: dict[str, Any] = {}
    for path in found.shards:
        stored |= safetensors.load_file(path)
    assert stored.keys() == layout(SMALL).keys()
    for name, tensor in networks.checkpoint_tensors().items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, stored[name].to(dtype)), name
    assert not networks.encoder.layers[0].qkv.bias[32:64].any()
    assert not any(parameter.requires_grad for parameter in networks.parameters())


def test_a_single_file_is_a_checkpoint_too(folder: Path, tmp_path: Path) -> None:
    merged: dict[str, Any] = {"left.over": torch.zeros(3)}
    for path in inspect(folder).shards:
        merged |= safetensors.load_file(path)
    single = tmp_path / "single"
    single.mkdir()
    (single / "config.json").write_bytes((folder / "config.json").read_bytes())
    safetensors.save_file(merged, single / "model.safetensors")
    assert inspect(single).unused == ("left.over",)
    one, other = load(single).state_dict(), load(folder).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_loading_in_8_bits_rounds_what_is_stored(folder: Path) -> None:
    rounded, exact = load(folder, int8=True), load(folder)
    codes = rounded.decoder.layers[1].qkv
    assert codes.weight.dtype == torch.int8 and codes.scale.dtype == torch.float32
    expected = quantize_rows(exact.decoder.layers[1].qkv.weight)
    assert torch.equal(codes.weight, expected[0]) and torch.equal(codes.scale, expected[1])
    assert torch.equal(rounded.decoder.embedding, exact.decoder.embedding)
    assert torch.equal(rounded.encoder.layers[0].qkv.weight, exact.encoder.layers[0].qkv.weight)


# --- random checkpoints -----------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one, other, another = (write_random(tmp_path / str(place), SMALL, seed=place // 2) for place in range(3))
    files = sorted(path.name for path in one.iterdir())
    assert files == ["config.json", *sorted(path.name for path in inspect(one).shards), INDEX_FILE]
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
    assert any((one / name).read_bytes() != (another / name).read_bytes() for name in files)


def test_it_is_not_written_over_anything(folder: Path, tmp_path: Path) -> None:
    for place in (folder, folder / "config.json"):
        with pytest.raises(UsageError, match="not an empty folder"):
            write_random(place, SMALL)
    with pytest.raises(UsageError, match="cannot be made"):
        write_random(folder / "config.json" / "below", SMALL)


def test_tokenizer_and_token2wav_come_with_it(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    with pytest.raises(UsageError, match=r"vocab\.json"):
        write_random(tmp_path / "new", SMALL, tokenizer=tokenizer)
    assert not (tmp_path / "new").exists()
    for name in ("vocab.json", "merges.txt", "README.md"):
        (tokenizer / name).write_text(name)
    asked: list[tuple[Path, bool, int]] = []

    def part(folder: Path, *, tiny: bool, seed: int) -> None:
        asked.append((folder, tiny, seed))

    made = write_random(tmp_path / "new", SMALL, tiny=True, seed=5, tokenizer=tokenizer, token2wav=part)
    assert asked == [(made / "token2wav", True, 5)]
    assert (made / "vocab.json").read_text() == "vocab.json" and not (made / "README.md").exists()
    assert load(made).config == SMALL


def test_the_command_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")  # token2wav's tokenizer is in that format
    folder = tmp_path / "made"
    assert main(["models", "random", "step-audio-2-mini", "--tiny", str(folder)]) == 0
    assert str(folder) in "".join(capsys.readouterr().out.split())
    assert inspect(folder).config == StepAudio2Config.tiny()
    assert (folder / "token2wav" / "flow.pt").is_file()
    assert main(["models", "random", "step-audio-2-mini", "--tiny", str(folder)]) == 2
    assert main(["models", "random", "whisper", str(tmp_path / "other")]) == 2
    assert "step-audio-2-mini" in capsys.readouterr().err

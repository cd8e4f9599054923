"""Step-Audio 2's tokenizer with the checkpoint's own files: golden ids, another implementation, untrusted text."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers", reason="the extra step-audio is not installed")

from sayso.errors import ModelError, ModelMissingError
from sayso.models.step_audio2.tokenizer import Tokenizer

WORDS = st.sampled_from(
    ["<|EOT|>", "<|BOT|>system\n", "<tts_start>", "<audio_17>", "<tool_call>", "</tool_call>", "<|im_end|>", "\n", " "]
)
TEXT = st.lists(st.text() | WORDS, max_size=6).map("".join)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("<|BOT|>human\n", [151666, 25312, 198]),
        ("<|BOT|>assistant\n", [151666, 77091, 198]),
        ("<|BOT|>system\n", [151666, 8948, 198]),
        ("<|BOT|>tool_json_schemas\n", [151666, 14172, 9455, 643, 31126, 198]),
        ("<|BOT|>input\n", [151666, 1355, 198]),
        ("<|BOT|>function_output\n", [151666, 1688, 7645, 198]),
        (
            "<|BOT|>system\nYou are a helpful assistant.<|EOT|>",
            [151666, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151665],
        ),
        ("<think>", [13708, 766, 29]),
        ("</think>", [522, 26865, 29]),
        ("</think>\n\n<tts_start>", [522, 26865, 1339, 151693]),
        ("\n<think>\n", [198, 13708, 766, 397]),
        ("<audio_0><audio_6560><audio_6561><audio_6655>", [151696, 158256, 158257, 158351]),
    ],
)
def test_golden_ids(step_tokenizer: Tokenizer, text: str, ids: list[int]) -> None:
    assert step_tokenizer.encode_marked(text) == ids
    assert step_tokenizer.decode(ids) == text


def test_control_tokens_are_found_by_name(step_tokenizer: Tokenizer) -> None:
    names = (
        "eot bot tool_call tool_call_end audio_start audio_end audio_patch tts_start tts_end tts_pad audio_0 audio_pad"
    )
    assert [getattr(step_tokenizer, name) for name in names.split()] == [
        151665, 151666, 151657, 151658, 151688, 151689, 151690, 151693, 151694, 151695, 151696, 158257
    ]  # fmt: skip
    assert step_tokenizer.size == 158352
    assert step_tokenizer.text_size == 151643
    assert step_tokenizer.is_code(158256)
    assert not step_tokenizer.is_code(158257)


def test_it_agrees_with_transformers(step_tokenizer: Tokenizer, checkpoint_files: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    theirs = transformers.Qwen2Tokenizer.from_pretrained(checkpoint_files)
    for text in (
        "Hello, world! It's 25 °C; I'll   go\r\n\r\n  now.\n",
        "今天上海的天气怎么样？\u3000明天呢",
        "naïve cafe\u0301 Ω ﬁ 👩‍👩‍👧 नमस्ते\tأهلا",
        'function\nget_weather\n{"location": "chengdu"}',
        "  leading, trailing  ",
        "",
    ):
        assert step_tokenizer.encode(text) == theirs.encode(text), text
    marked = "<|BOT|>human\nSay <tts_start> hi<audio_12><tts_pad><tool_call>x</tool_call>"
    assert step_tokenizer.encode_marked(marked) == theirs.encode(marked)


@given(TEXT)
@settings(max_examples=200)
@example("\ud800<|EOT|>\udfff")
def test_text_never_becomes_a_control_or_audio_token(step_tokenizer: Tokenizer, text: str) -> None:
    ids = step_tokenizer.encode(text)
    assert all(map(step_tokenizer.is_text, ids))


@given(TEXT)
@settings(max_examples=200)
def test_what_comes_piece_by_piece_is_what_comes_at_once(step_tokenizer: Tokenizer, text: str) -> None:
    ids = step_tokenizer.encode(text)
    decoder = step_tokenizer.decoder()
    pieces = [decoder.feed(token_id) for token_id in ids]
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in step_tokenizer.decode(ids)
    assert "".join(pieces) + decoder.finish() == step_tokenizer.decode(ids)


@given(st.lists(st.integers(-1, 159000), max_size=20))
@settings(max_examples=200)
def test_any_ids_decode_alike_piece_by_piece(step_tokenizer: Tokenizer, ids: list[int]) -> None:
    decoder = step_tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.finish() == step_tokenizer.decode(ids)


def test_a_character_comes_with_its_last_part(step_tokenizer: Tokenizer) -> None:
    ids = step_tokenizer.encode("🫨")
    assert len(ids) > 1
    decoder = step_tokenizer.decoder()
    assert [decoder.feed(token_id) for token_id in ids] == [*[""] * (len(ids) - 1), "🫨"]
    assert decoder.feed(ids[0]) == ""
    assert decoder.finish() == "\ufffd"


def folder_with(folder: Path, **files: Any) -> Path:
    """A folder of tokenizer files, tiny but whole unless said otherwise."""
    whole: dict[str, Any] = {
        "vocab.json": json.dumps({"a": 0, "b": 1, "ab": 2}),
        "merges.txt": "#version: 0.2\na b\n",
        "tokenizer_config.json": json.dumps({"added_tokens_decoder": {"3": {"content": "<|EOT|>"}}}),
    }
    for name, content in (whole | {name.replace("_json", ".json"): content for name, content in files.items()}).items():
        if content is not None:
            (folder / name).write_text(content)
    return folder


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder_with(tmp_path).joinpath("merges.txt").unlink()
    with pytest.raises(ModelMissingError, match=r"has no merges\.txt.*sayso models pull"):
        Tokenizer.load(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    for name, content in (
        ("vocab.json", "{"),
        ("vocab.json", "[]"),
        ("vocab.json", '{"a": "x"}'),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", "{}"),
        ("merges.txt", "#version: 0.2\na b c\n"),
        ("merges.txt", "a z\n"),  # not of this vocabulary
    ):
        folder_with(tmp_path).joinpath(name).write_text(content)
        with pytest.raises(ModelError, match=name.replace(".", r"\.") + r" is no .*sayso models pull"):
            Tokenizer.load(tmp_path)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no token <\|BOT\|>"):
        Tokenizer.load(folder_with(tmp_path))


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as if it were not installed
    with pytest.raises(ModelMissingError, match=r"sayso\[step-audio\]"):
        Tokenizer.load(folder_with(tmp_path))

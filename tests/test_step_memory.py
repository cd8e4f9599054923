# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Loading: too little memory is told before, with all that will be needed counted; afterwards all is rehearsed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("onnx", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")
from sayso.errors import ModelError, UsageError
from sayso.models.step_audio2 import checkpoint
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import CachedDecoder, KvCache
from sayso.models.step_audio2.loaded import Options, load_all, rehearse
from sayso.models.step_audio2.networks import weight_bytes


def test_cache_and_sound_are_counted_beside_the_weights(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_checkpoint
    config = StepAudio2Config.read(folder)
    weights = weight_bytes(config, torch.float32)
    cache = 3 * 1000 * KvCache.bytes_per_position(config.decoder, torch.float32)
    sound = sum((folder / "token2wav" / name).stat().st_size for name in ("flow.pt", "hift.pt"))
    options = Options(folder, device="cpu", dtype="float32", sessions=2, max_length=1000)

    def with_free(free: int) -> Any:
        def free_memory(device: Any) -> int:
            return free

        monkeypatch.setattr(checkpoint, "free_memory", free_memory)
        return load_all(options)

    with pytest.raises(UsageError, match=r"GB beside 0\.\d GB for the cache, and cpu has 0\.\d GB free"):
        with_free(weights + cache + sound - 1)
    assert with_free(weights + cache + sound).vocab_size == config.decoder.vocab_size


def test_after_a_rehearsal_sound_finds_its_shapes_and_no_session_is_left(tiny_checkpoint: Path) -> None:
    options = Options(tiny_checkpoint, device="cpu", dtype="float32", sessions=2, max_length=600, first_chunk_tokens=10)
    loaded = load_all(options)
    shapes = loaded.token2wav.flow.use_fixed_shapes()
    rehearse(loaded, options)
    ready = set(shapes.shapes)
    assert {rows for rows, _, _ in ready} == {2, 4}  # one session and two, each with and without its conditions
    stream = loaded.token2wav.stream(loaded.voice(None), first_chunk_tokens=10)
    stream.feed([3] * 90)
    assert set(shapes.shapes) == ready
    asyncio.run(loaded.engine.aclose())


def test_a_rehearsal_that_fails_leaves_no_engine_behind(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(tiny_checkpoint, device="cpu", dtype="float32", sessions=1, max_length=600)
    loaded = load_all(options)

    def no_memory(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CachedDecoder, "prefill", no_memory)
    with pytest.raises(ModelError, match="no memory left"):
        rehearse(loaded, options)
    with pytest.raises(ModelError, match="closed"):
        asyncio.run(loaded.engine.warm([[1]]))

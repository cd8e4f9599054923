# ruff: noqa: E402 -- what is tested imports torch, so that comes first or the tests are skipped
"""Too little memory is told before anything is loaded, with all that will be needed counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("onnx", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")
from sayso.errors import UsageError
from sayso.models.step_audio2 import checkpoint
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import KvCache
from sayso.models.step_audio2.loaded import Options, load_all
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

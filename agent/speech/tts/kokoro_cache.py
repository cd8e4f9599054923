"""Kokoro's fast graph on disk: made once from the published one, kept under the cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from sayso.settings import cache_root

_LOG = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fast_graph(source: Path) -> Path:
    """The rewritten and optimised form of ``source``, made now if it is not in the cache.

    The file's name holds the SHA-256 of the source and the versions of the rewrite and of ONNX Runtime. It is written
    under another name and renamed when whole, by one process at a time.

    Returns:
        The path of the fast graph, or ``source`` itself where it cannot be made (no ``onnx`` package, no disk space,
        another graph than the published one); the reason is logged.
    """
    try:
        return _cached(source)
    except Exception as error:  # the published graph works as well, only slower
        _LOG.warning("Kokoro runs its published, slower graph: the fast one could not be made (%r).", error)
        return source


def _cached(source: Path) -> Path:
    import onnxruntime as ort
    from filelock import FileLock

    from sayso.speech.tts.kokoro_graph import REWRITE_VERSION

    folder = cache_root() / "derived"
    target = folder / f"kokoro-{file_sha256(source)}-v{REWRITE_VERSION}-ort{ort.__version__}.onnx"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            _make(source, target)
    return target


def _make(source: Path, target: Path) -> None:
    import onnxruntime as ort

    from sayso.speech.tts.kokoro_graph import has_exact_dot_products, rewrite

    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kokoro-") as scratch:
        rewritten, optimised = Path(scratch, "rewritten.onnx"), Path(scratch, "optimised.onnx")
        rewrite(source, rewritten, integer=has_exact_dot_products())
        options: Any = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
        ort.InferenceSession(str(rewritten), options, providers=["CPUExecutionProvider"])
        with optimised.open("rb") as file:
            os.fsync(file.fileno())
        optimised.replace(target)

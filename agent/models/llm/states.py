"""Evaluated prompts on disk, so that a new process need not evaluate the system prompt and the tools again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from sayso.errors import ModelError
from sayso.models.llm.runner import LlamaRunner

KEPT = 8
"""How many states are kept; the one used longest ago goes first. One of 900 tokens is 26 MB with the 1.5 B model."""


class StateCache:
    """Saves and restores what a runner has evaluated. A state that cannot be read or written is no error.

    Args:
        runner: Loaded with a folder for states.
    """

    def __init__(self, runner: LlamaRunner) -> None:
        self._runner = runner

    async def restore(self, prompt: str) -> bool:
        """Bring back the state after ``prompt``; False where there is none that is whole."""
        folder = self._runner.states
        if folder is None:
            return False
        state = folder / self._name(prompt)
        try:
            if _digest_file(state).read_text() != _digest(state):
                raise ModelError("The state is not what was written.")
            tokens = await self._runner.restore_state(state.name)
        except (OSError, ModelError):
            _remove(state)
            return False
        with contextlib.suppress(OSError):
            os.utime(state)
        return tokens > 0

    async def save(self, prompt: str) -> None:
        """Keep the state, which must be the one after ``prompt``, and drop the oldest ones."""
        folder = self._runner.states
        if folder is None:
            return
        state = folder / self._name(prompt)
        draft = folder / f"{state.stem}.{os.getpid()}.tmp"
        try:
            await self._runner.save_state(draft.name)
            digest = draft.with_suffix(".sum")
            digest.write_text(_digest(draft))
            os.replace(draft, state)
            os.replace(digest, _digest_file(state))
            for old in sorted(folder.glob("*.state"), key=lambda file: file.stat().st_mtime_ns)[:-KEPT]:
                _remove(old)
        except (OSError, ModelError):
            _remove(draft)

    def _name(self, prompt: str) -> str:
        key = hashlib.sha256(f"{self._runner.fingerprint()}\n{prompt}".encode()).hexdigest()
        return f"{key[:40]}.state"


def _digest_file(state: Path) -> Path:
    return state.with_suffix(".sha256")


def _digest(state: Path) -> str:
    with state.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(state: Path) -> None:
    for file in (state, _digest_file(state), state.with_suffix(".sum")):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)

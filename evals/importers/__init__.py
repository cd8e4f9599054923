"""Public sets of conversations and calls as suites; see docs/eval-importers.md. Their scores are called adapted."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sayso.errors import UsageError
from sayso.evals.importers.base import Imported, write_suite

SETS: Final = ("stepeval", "bfcl", "tau2", "eva", "slurp", "orders", "agentdojo", "aiewf")
"""What can be imported: each is a module here, with SOURCE and load(path, source)."""

__all__ = ["SETS", "Imported", "import_set", "write_suite"]


def import_set(name: str, path: Path, version: str | None = None) -> Imported:
    """Read a set.

    Args:
        name: One of `SETS`.
        path: Its folder or file.
        version: What its origin says; None: the one that the importer was written against.

    Raises:
        UsageError: There is no such set or no such path.
        ScenarioError: A file is not as expected; file, line and what was expected are told.
    """
    if name not in SETS:
        raise UsageError(f"There is no importer for {name!r}.", f"There are: {', '.join(SETS)}.")
    if not path.exists():
        raise UsageError(f"There is no {path}.", f"Give the folder or the file of {name}.")
    module: Any = import_module(f"sayso.evals.importers.{name}")
    source = module.SOURCE if version is None else replace(module.SOURCE, version=version)
    return module.load(path, source)

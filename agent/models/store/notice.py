"""The text of the top-level NOTICE, made from the manifest so that the two cannot drift.

Example:
    python -m sayso.models.store.notice > NOTICE
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sayso.models.store.manifest import Artefact, load_manifest

_HEAD = """\
sayso
Copyright 2026 The sayso authors

Licensed under the Apache License, Version 2.0; see LICENSE.

sayso does not contain the models below. `sayso models pull` fetches them; each stays under its own licence.
"""
_WIDTH = 110


def notice_text(artefacts: Sequence[Artefact]) -> str:
    """The whole NOTICE: sayso's own, then what each artefact is, its licence and its upstream."""
    return "\n".join([_HEAD, *(_entry(artefact) for artefact in artefacts)])


def _entry(artefact: Artefact) -> str:
    facts = (
        f"{artefact.name}: {artefact.purpose}",
        f"Licence: {artefact.licence}",
        f"Upstream: {artefact.upstream}",
        artefact.notice,
    )
    head, *rest = (textwrap.wrap(fact, _WIDTH) for fact in facts)
    return "\n".join([*head, *(f"  {line}" for lines in rest for line in lines)]) + "\n"


if __name__ == "__main__":
    print(notice_text(load_manifest()), end="")

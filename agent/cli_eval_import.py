"""`sayso eval import`: public sets of conversations and calls as suites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="stepeval, bfcl, tau2, eva, slurp, orders, agentdojo or aiewf.")
    ],
    path: Annotated[Path, typer.Argument(help="The set's folder or file.")],
    out: Annotated[Path, typer.Option("--out", help="The suite's folder; an older import of the set is replaced.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Of the set, for its origin.", show_default=False)
    ] = None,
) -> None:
    """Import a public set as a suite. Its scores are called adapted."""
    from sayso.evals.importers import import_set, write_suite

    imported = import_set(name, path.expanduser(), version)
    write_suite(imported, out.expanduser())
    source = imported.source
    typer.echo(f"{source.title} {source.version} ({source.licence}): {imported.count} scenarios in {out}")
    for group, count in sorted(imported.groups.items()):
        typer.echo(f"  {count:5}  {group}")
    if imported.left_out:
        typer.echo(f"Left out: {sum(imported.left_out.values())}")
        for reason, count in sorted(imported.left_out.items()):
            typer.echo(f"  {count:5}  {reason}")
    for note in imported.notes:
        typer.echo(note)
    typer.echo("Scores on this suite are adapted: never set them beside published ones without that word.")

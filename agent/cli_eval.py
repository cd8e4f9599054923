"""`sayso eval`: evaluations of an agent."""

from __future__ import annotations

import typer

from sayso.cli_eval_import import import_
from sayso.cli_eval_render import render
from sayso.cli_eval_report import compare, report
from sayso.cli_eval_run import replay, run, validate

eval_app = typer.Typer(help="Evaluate an agent with scripted conversations.", no_args_is_help=True)
eval_app.command()(run)
eval_app.command()(validate)
eval_app.command()(replay)
eval_app.command()(report)
eval_app.command()(compare)
eval_app.command(name="import")(import_)
eval_app.command()(render)

"""sayso.tools: functions that a model may call."""

from sayso.errors import ToolError
from sayso.tools.context import Context
from sayso.tools.executor import Executor
from sayso.tools.journal import Journal
from sayso.tools.loader import load_tools
from sayso.tools.outcome import CallOutcome
from sayso.tools.registry import Registry
from sayso.tools.round import Round
from sayso.tools.tool import Effect, Mode, Tool, tool

__all__ = [
    "CallOutcome",
    "Context",
    "Effect",
    "Executor",
    "Journal",
    "Mode",
    "Registry",
    "Round",
    "Tool",
    "ToolError",
    "load_tools",
    "tool",
]

"""sayso: voice agents that call tools.

from sayso import Agent, tool
"""

from sayso.agent import Agent
from sayso.errors import SaysoError, ToolError
from sayso.items import Audio
from sayso.result import TurnResult
from sayso.session import Session
from sayso.tools import Context, Effect, Tool, tool
from sayso.turn import TurnPolicy

__all__ = [
    "Agent",
    "Audio",
    "Context",
    "Effect",
    "SaysoError",
    "Session",
    "Tool",
    "ToolError",
    "TurnPolicy",
    "TurnResult",
    "tool",
]
__version__ = "0.1.0"

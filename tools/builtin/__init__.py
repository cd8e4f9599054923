"""Tools that come with sayso, one file each. All work offline."""

from sayso.tools.builtin.calculate import calculate
from sayso.tools.builtin.get_date_time import get_date_time
from sayso.tools.builtin.list_timers import list_timers
from sayso.tools.builtin.set_timer import set_timer
from sayso.tools.tool import Tool

BUILTIN_TOOLS: tuple[Tool, ...] = (get_date_time, calculate, set_timer, list_timers)

__all__ = ["BUILTIN_TOOLS", "calculate", "get_date_time", "list_timers", "set_timer"]

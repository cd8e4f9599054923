"""Tools that come with sayso, one file each. `BUILTIN_TOOLS`, an agent's default, all work offline.

The others are named one by one: they ask a service, change something, or need a package more.
"""

from sayso.tools.builtin.calculate import calculate
from sayso.tools.builtin.convert_time import convert_time
from sayso.tools.builtin.convert_units import convert_units
from sayso.tools.builtin.days_between import days_between
from sayso.tools.builtin.find_date import find_date
from sayso.tools.builtin.get_date_time import get_date_time
from sayso.tools.builtin.get_weather import get_weather
from sayso.tools.builtin.home import HOME_TOOLS, control_device, control_secure_device, device_state, list_devices
from sayso.tools.builtin.list_timers import list_timers
from sayso.tools.builtin.notes import NOTE_TOOLS, forget, recall, remember
from sayso.tools.builtin.read_page import read_page
from sayso.tools.builtin.running_calls import CALL_TOOLS, list_running, stop_running
from sayso.tools.builtin.set_timer import set_timer
from sayso.tools.builtin.web_search import web_search
from sayso.tools.tool import Tool

BUILTIN_TOOLS: tuple[Tool, ...] = (get_date_time, calculate, set_timer, list_timers)

__all__ = [
    "BUILTIN_TOOLS",
    "CALL_TOOLS",
    "HOME_TOOLS",
    "NOTE_TOOLS",
    "calculate",
    "control_device",
    "control_secure_device",
    "convert_time",
    "convert_units",
    "days_between",
    "device_state",
    "find_date",
    "forget",
    "get_date_time",
    "get_weather",
    "list_devices",
    "list_running",
    "list_timers",
    "read_page",
    "recall",
    "remember",
    "set_timer",
    "stop_running",
    "web_search",
]

r"""Middleware: one behaviour a file, each a function from a tool to a tool.

    tools = prefix([cache(redact(get_forecast, [r"key=\w+"]), ttl_s=600)], "weather_")

What is wrapped keeps its effect, policy, examples and spoken lines, and wrappers go around each other in any order: the
outermost sees a call first and its result last.
"""

from sayso.tools.middleware.approval import require_approval
from sayso.tools.middleware.around import Around, around
from sayso.tools.middleware.budget import budget
from sayso.tools.middleware.cache import cache
from sayso.tools.middleware.names import keep, prefix, rename
from sayso.tools.middleware.rate_limit import rate_limit
from sayso.tools.middleware.redact import redact
from sayso.tools.middleware.tape import record, replay

__all__ = [
    "Around",
    "around",
    "budget",
    "cache",
    "keep",
    "prefix",
    "rate_limit",
    "record",
    "redact",
    "rename",
    "replay",
    "require_approval",
]

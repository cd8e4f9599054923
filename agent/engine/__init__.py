"""The decode loop: ids (or vectors) in, a stream of ids out. It knows neither tools nor any chat format.

`sayso.engine.request` says what is asked for, `sayso.engine.network` what a network has to offer; neither imports
torch. What runs is `sayso.engine.torch_engine.TorchEngine`.
"""

from __future__ import annotations

from sayso.engine.network import Network
from sayso.engine.request import GREEDY, Engine, Generation, Guide, Prompt, Sampling, Stream, Usage, Vectors

__all__ = ["GREEDY", "Engine", "Generation", "Guide", "Network", "Prompt", "Sampling", "Stream", "Usage", "Vectors"]

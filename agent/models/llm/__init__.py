"""The language model of the embedded agent: Qwen through llama.cpp, held to the tools by a grammar."""

from sayso.models.llm.model import LlamaModel, LlmOptions
from sayso.models.llm.runner import LlamaRunner, Sampling, Truncated, Usage

__all__ = ["LlamaModel", "LlamaRunner", "LlmOptions", "Sampling", "Truncated", "Usage"]

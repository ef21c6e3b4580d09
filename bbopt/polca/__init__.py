"""POLCA: stochastic generative search over texts, programs and whatever else an LLM can edit."""

from bbopt.polca.embed import Embedding
from bbopt.polca.memory import Memory
from bbopt.polca.optimizer import Polca

__all__ = ["Embedding", "Memory", "Polca"]

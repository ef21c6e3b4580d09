"""Language models for optimizers: one client, budgeted and recorded."""

from bbopt.llm.client import Client
from bbopt.llm.embedded import Embedded
from bbopt.llm.exchange import FREE, ROLES, Answer, Backend, Price, Reply, Request
from bbopt.llm.ledger import Charge, Ledger
from bbopt.llm.recording import Recording
from bbopt.llm.server import Server

__all__ = [
    "FREE",
    "ROLES",
    "Answer",
    "Backend",
    "Charge",
    "Client",
    "Embedded",
    "Ledger",
    "Price",
    "Recording",
    "Reply",
    "Request",
    "Server",
]

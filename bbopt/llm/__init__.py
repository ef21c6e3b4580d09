"""Language models for optimizers: one client, budgeted and recorded."""

from bbopt.llm.client import Client
from bbopt.llm.exchange import FREE, ROLES, Answer, Backend, Price, Reply, Request
from bbopt.llm.ledger import Charge, Ledger
from bbopt.llm.recording import Recording

__all__ = [
    "FREE",
    "ROLES",
    "Answer",
    "Backend",
    "Charge",
    "Client",
    "Ledger",
    "Price",
    "Recording",
    "Reply",
    "Request",
]

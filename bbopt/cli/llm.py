"""``bbopt llm``: language models, before a run depends on them."""

from __future__ import annotations

import click

from bbopt.llm import FREE, ROLES, Client, Reply

FAILED = 1

QUESTION = [{"role": "user", "content": "Which word means the opposite of 'hot'? Reply in JSON."}]
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 40}},
    "required": ["word"],
    "additionalProperties": False,
}


@click.group()
def llm() -> None:
    """Language models: what a run would use."""


@llm.command()
@click.option(
    "--llm",
    "specs",
    multiple=True,
    metavar="[ROLE=]SPEC",
    help="As for a run: none, embedded[:PATH], openai:MODEL or replay:FILE.  [default: none]",
)
@click.option(
    "--price",
    multiple=True,
    metavar="[ROLE=]P/C",
    help="Money for a million prompt and completion tokens.",
)
def check(specs: tuple[str, ...], price: tuple[str, ...]) -> int:
    """Say which model each role would use, ask each of them once, and print what that took.

    'embedded' is a model of 135 million parameters, slow and without insight: it shows that a
    run works, and improves little. 'embedded:PATH' takes a better one, any GGUF file;
    'openai:MODEL' one behind a server, yours (OPENAI_BASE_URL) or OpenAI's (OPENAI_API_KEY).

    \b
    bbopt llm check --llm embedded
    bbopt llm check --llm openai:gpt-5-mini --llm judge=embedded --price 0.25/2
    """  # noqa: D301 - \b keeps click from wrapping what follows
    from bbopt.cli.layout import print_fields, print_title
    from bbopt.cli.models import build_client
    from bbopt.llm.embedded import LIMITS

    client = build_client(specs, price=price)
    if client is None:
        click.echo(
            "No language model: nothing is sent anywhere. Proposals come from the problem's own "
            "'propose', or from small random edits. Choose a model with --llm."
        )
        return 0
    with client:
        models = client.describe()
        print_title("roles")
        print_fields((role, models.get(role, "none")) for role in ROLES)
        first = {model: role for role, model in reversed(models.items())}
        replies = {model: _ask(client, role, model) for model, role in reversed(first.items())}
    if any(spec.rpartition("=")[2] == "embedded" for spec in specs):
        click.echo(f"\nNote: {LIMITS}")
    return FAILED if any(reply.error for reply in replies.values()) else 0


def _ask(client: Client, role: str, model: str) -> Reply:
    """Ask a model once, and print what came of it."""
    from bbopt.cli.layout import print_fields, print_title

    reply = client.complete(
        QUESTION, role=role, draw=0, schema=SCHEMA, max_tokens=256, temperature=0.0
    )
    charge = client.ledger.roles.get(role)
    is_estimate = charge is not None and charge.estimated > 0
    is_priced = client.ledger.prices.get(role, FREE) is not None
    click.echo()
    print_title(model)
    rows = [
        ("reply", reply.text or "none"),
        ("latency", f"{reply.latency:.2f} s"),
        ("calls", str(reply.usage.llm_calls)),
        ("tokens", f"{reply.usage.tokens}" + (" at most: it does not say" * is_estimate)),
        ("cost", f"{reply.usage.cost:.4g}" if is_priced else "unknown: give --price"),
    ]
    print_fields(rows if reply.error is None else [("problem", reply.error), *rows])
    return reply

"""What a language model is shown, and the form of its reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bbopt.space import Categorical, Float, Int, Params, Space, Text
from bbopt.spec import Spec

FIELD_CHARS = 1500
"""A longer input, output or feedback is shown with its middle left out."""
EXAMPLES_CHARS = 30_000
"""Room for all of them together: where there are many, each is shown shorter."""

Message = dict[str, str]


def proposer_messages(
    spec: Spec, params: Params, examples: Sequence[Mapping[str, str]], summary: str
) -> list[Message]:
    """Ask for one better setting of the parameters.

    Parameters
    ----------
    spec : Spec
        Objective, direction and parameters.
    params : dict
        The parent.
    examples : sequence of mapping of str
        What evaluations of the parent showed: texts by heading, ``score`` among them.
    summary : str
        What all earlier evaluations taught; may be empty.
    """
    best = "lower" if spec.sign > 0 else "higher"
    parts = [
        f"Objective: {spec.objective or 'improve the score'}",
        f"A {best} score is better{_range(spec)}.",
        "Parameters:\n" + "\n".join(_described(spec.space)),
        f"Current values:\n@@PARENT@@\n{shown(params)}\n@@END@@",
    ]
    if examples:
        parts.append(f"What happened with these values:\n\n{_written(examples)}")
    if summary:
        parts.append(f"Lessons from all evaluations so far:\n{summary}")
    parts.append(
        "Find out why these values lose score, and write values that do better on new cases of "
        "the same kind, not only on these. Reply with JSON: "
        '{"reasoning": "<two sentences>", "params": {"<parameter>": <its whole new value>}}. '
        "A parameter that is left out keeps its value."
    )
    system = "You improve the parameters of a system from what its evaluations say."
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def proposal_schema(space: Space) -> dict[str, Any]:
    """JSON schema of the reply to :func:`proposer_messages`."""
    properties = {name: _type(dimension) for name, dimension in space.items()}
    params = {"type": "object", "properties": properties}
    return {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "params": params},
        "required": ["params"],
    }


def summarizer_messages(
    spec: Spec, previous: str, trajectories: Sequence[Mapping[str, str]]
) -> list[Message]:
    """Ask for one text that merges the previous summary with new trajectories."""
    parts = [f"Objective: {spec.objective or 'improve the score'}"]
    if previous:
        parts.append(f"Summary so far:\n{previous}")
    parts.append(f"New evaluations:\n\n{_written(trajectories)}")
    parts.append(
        "Merge the summary and the new evaluations into one text of at most 200 words that "
        "tells whoever edits the parameters what works, what fails and what to try; keep every "
        'concrete fact. Reply with JSON: {"reasoning": "<one sentence>", "summary": "<text>"}.'
    )
    system = "You are a summarizer: you turn evaluations of a system into advice for its editor."
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


SUMMARY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["summary"],
}


def shown(params: Params) -> str:
    """The values for a reader: the bare value of one parameter, ``### name`` above several."""
    if len(params) == 1:
        return str(next(iter(params.values())))
    return "\n".join(f"### {name}\n{value}" for name, value in params.items())


def _range(spec: Spec) -> str:
    if spec.value_range is None:
        return ""
    low, high = spec.value_range
    return f"; scores lie in [{low:g}, {high:g}]"


def _described(space: Space) -> list[str]:
    return [f"- {name}: {_what(dimension)}" for name, dimension in space.items()]


def _what(dimension: Any) -> str:
    if isinstance(dimension, Text):
        limit = "" if dimension.max_chars is None else f", at most {dimension.max_chars} characters"
        kind = "text" if dimension.language == "text" else f"{dimension.language} source"
        about = f": {dimension.description}" if dimension.description else ""
        return f"{kind}{limit}{about}"
    if isinstance(dimension, Categorical):
        return f"one of {list(dimension.choices)!r}"
    kind = "an integer" if isinstance(dimension, Int) else "a number"
    return f"{kind} in [{dimension.low!r}, {dimension.high!r}]"


def _type(dimension: Any) -> dict[str, Any]:
    if isinstance(dimension, Text):
        limit = {} if dimension.max_chars is None else {"maxLength": dimension.max_chars}
        return {"type": "string", **limit}
    if isinstance(dimension, Categorical):
        return {"enum": list(dimension.choices)}
    kind = "number" if isinstance(dimension, Float) else "integer"
    return {"type": kind, "minimum": dimension.low, "maximum": dimension.high}


def _written(examples: Sequence[Mapping[str, str]]) -> str:
    n = sum(len(fields) for fields in examples)
    chars = min(FIELD_CHARS, EXAMPLES_CHARS // max(n, 1))
    return "\n\n".join(
        "\n".join(f"{name}: {_cut(text, chars)}" for name, text in fields.items() if text)
        for fields in examples
    )


def _cut(text: str, chars: int) -> str:
    if len(text) <= chars:
        return text
    half = chars // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"

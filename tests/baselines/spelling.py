"""A toy for optimizers of texts: spell a word. Example i is about the letter at place i.

Who rewrites knows nothing but the text and what evaluations say ("place 3 needs 'l'"), so that
the word is only reached where both get to the proposer or into the model's prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import bbopt
from bbopt import Optimizer, Outcome, Space, Spec, Text, Trial
from bbopt.llm import Request
from bbopt.spec import Examples

WORD = "rhododendron"
START = "." * len(WORD)
SAID = re.compile(r"place (\d+) needs '(.)'")


def spec(max_chars: int | None = None, **fields: Any) -> Spec:
    """Twelve examples, of which the last four are for validation."""
    space = Space({"word": Text(START, description="the word", max_chars=max_chars)})
    examples = Examples(train=tuple(range(12)), validation=(8, 9, 10, 11))
    given = {"examples": examples, "direction": "maximize", "objective": "Spell it.", **fields}
    return Spec(space=space, **given)


def quality(params: dict[str, Any]) -> float:
    """The share of letters that are right."""
    return sum(a == b for a, b in zip(params["word"], WORD, strict=False)) / len(WORD)


def evaluate(trial: Trial, rng: np.random.Generator | None = None) -> Outcome:
    """1 for each letter that is right, 0 for the others; the overall quality without examples."""
    places = trial.context.get("examples")
    if places is None:
        values = [quality(trial.params)] * trial.repeats
        said = [_feedback(trial.params["word"], i) for i in _wrong(trial.params["word"])]
        return Outcome(values, feedback=["; ".join(said) or "fine"] * trial.repeats)
    word = trial.params["word"]
    values = [float(word[i : i + 1] == WORD[i]) for i in places]
    feedback = [{"output": word[i : i + 1], "feedback": _feedback(word, i)} for i in places]
    return Outcome(values, feedback=feedback)


def mended(word: str, said: str) -> str:
    """The word with the first two letters mended that are wrong by what is said."""
    wrong = [(int(i), letter) for i, letter in SAID.findall(said) if word[int(i)] != letter]
    for i, letter in wrong[:2]:
        word = word[:i] + letter + word[i + 1 :]
    return word


def propose(params: dict[str, Any], feedback: Sequence[Any], rng: np.random.Generator) -> Any:
    """A proposer: the parent with two letters mended."""
    return {"word": mended(params["word"], str(feedback).replace('"', ""))}


def reply(request: Request) -> str:
    """A language model: the same, from the words of the prompt, in a fence."""
    prompt = "\n".join(message["content"] for message in request.messages)
    (parent,) = re.findall("@@PARENT@@\n(.*?)\n@@END@@", prompt)
    return f"Here it is.\n```text\n{mended(parent, prompt)}\n```"


def build(name: str, seed: int = 0, **given: Any) -> Optimizer:
    """An optimizer of the toy."""
    names = ("examples", "deterministic", "max_chars", "value_range", "direction")
    fields = {name: given.pop(name) for name in names if name in given}
    return bbopt.optimizer(name, spec(**fields), seed=seed, **given)


def play(
    optimizer: Optimizer, evaluations: int, judge: Callable[[Trial], Outcome] = evaluate
) -> list[Trial]:
    """Ask for one trial and tell it, until the evaluations are spent; the trials."""
    asked: list[Trial] = []
    while sum(trial.repeats for trial in asked) < evaluations and (trials := optimizer.ask()):
        for trial in trials:
            asked.append(trial)
            optimizer.tell(trial, judge(trial))
    return asked


def _wrong(word: str) -> list[int]:
    return [i for i, letter in enumerate(WORD) if word[i : i + 1] != letter]


def _feedback(word: str, place: int) -> str:
    right = word[place : place + 1] == WORD[place]
    return "fine" if right else f"place {place} needs '{WORD[place]}'"

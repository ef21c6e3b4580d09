"""OpenEvolve by its authors' package ``openevolve`` (after Novikov et al. 2025, arXiv:2506.13131).

Islands of programs in a grid of features (MAP-Elites); a model rewrites a parent that it sees
with the best and some diverse programs of its island; every program is scored once, and the
score is never looked at again. Programs of other kinds are texts too: several parameters are
one program, in which each stands under its name. The package runs in processes of its own
(:mod:`bbopt.baselines.evolution`), with its own prompt and a system message that states the
objective.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbopt import seeding
from bbopt.baselines.closed_loop import (
    END,
    PARENT,
    ClosedLoop,
    Complete,
    Evaluate,
    Evaluated,
    NoProposal,
    Propose,
    parent_in,
)
from bbopt.baselines.evolution import Evolution
from bbopt.baselines.inverted import Ended
from bbopt.errors import MissingExtra
from bbopt.llm.parse import without_surrogates
from bbopt.polca.prompts import shown
from bbopt.polca.proposer import Seen
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import Best, Outcome


@dataclass(frozen=True)
class OpenEvolveSettings:
    """The settings of ``openevolve``, with its own defaults but for the first."""

    evaluations_per_program: int = setting(
        10, "evaluations whose mean is the score of a program", low=1, high=1000
    )
    num_islands: int = setting(5, "populations that exchange programs now and then", low=1)
    population_size: int = setting(1000, "programs kept in all", low=2)
    archive_size: int = setting(100, "programs that parents are drawn from as elites", low=1)
    exploration_ratio: float = setting(
        0.2, "share of parents drawn at random from the island", low=0.0, high=1.0
    )
    exploitation_ratio: float = setting(
        0.7, "share of parents drawn from the archive; the rest by score", low=0.0, high=1.0
    )
    num_top_programs: int = setting(3, "best programs that a prompt shows", low=0)
    num_diverse_programs: int = setting(2, "other programs that a prompt shows", low=0)


@register_optimizer("openevolve")
class OpenEvolve(ClosedLoop):
    """OpenEvolve; ``best`` is the program of the best score, with that score.

    It is one of many scores, each measured once: too good on average. Parents drawn by score
    need scores above zero: where the spec has a ``value_range``, they are moved there.

    Raises
    ------
    MissingExtra
        If the package ``openevolve`` is not installed.
    """

    Settings = OpenEvolveSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # found, not imported: that takes 0.6 s, and is done where it runs
        if importlib.util.find_spec("openevolve") is None:
            raise MissingExtra("openevolve", "peers", f"optimizer {self.name!r}")
        self._own: Best | None = None

    def _start(self) -> _Programs:
        settings = self.settings
        evolution = Evolution(
            without_surrogates(shown(self.space.initial or {})),
            {"full_rewrite_user.txt": _template()},
            {
                "random_seed": seeding.stream_seed(self.seed, self.name, worker=self.worker),
                "language": _language(self.space),
                "prompt": {
                    "system_message": _system_message(self.spec),
                    "num_top_programs": settings.num_top_programs,
                    "num_diverse_programs": settings.num_diverse_programs,
                },
                "database": {
                    "num_islands": settings.num_islands,
                    "population_size": settings.population_size,
                    "archive_size": settings.archive_size,
                    "exploration_ratio": settings.exploration_ratio,
                    "exploitation_ratio": settings.exploitation_ratio,
                },
            },
        )
        return _Programs(
            evolution,
            self.space,
            settings.evaluations_per_program,
            offset=0.0 if self.spec.value_range is None else max(0.0, -self._worst),
            has_model=self.llm is not None,
        )

    def _took(self, request: Evaluate, outcome: Outcome) -> None:
        is_better = self._own is None or outcome.mean < self._own.value
        if outcome.count and outcome.feasible and is_better:
            self._own = Best(request.params, outcome.mean, None, outcome.count)

    def _own_best(self) -> Best | None:
        return self._own


class _Programs:
    """The conversation with OpenEvolve, of programs, as one of params."""

    def __init__(
        self, evolution: Evolution, space: Space, repeats: int, *, offset: float, has_model: bool
    ) -> None:
        self._evolution, self._space, self._repeats = evolution, space, repeats
        self._offset, self._has_model = offset, has_model
        self._seen: dict[str, tuple[Seen, ...]] = {}

    @property
    def request(self) -> Any:
        asked = self._evolution.request
        if isinstance(asked, Ended):
            return asked
        if "evaluate" in asked:
            return Evaluate(self._params(asked["evaluate"]), self._repeats)
        if self._has_model:
            return Complete(asked["complete"])
        parent = parent_in(asked["complete"][-1]["content"])
        return Propose(self._params(parent), self._seen.get(parent, ()))

    def answer(self, value: Any) -> None:
        told = self._translated(value)
        # what is no character ends the package
        self._evolution.answer(
            {k: without_surrogates(v) if isinstance(v, str) else v for k, v in told.items()}
        )

    def close(self) -> None:
        self._evolution.close()

    def _translated(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Evaluated):
            seen = tuple(each for each in value.seen if each is not None)
            self._seen[self._evolution.request["evaluate"]] = seen
            score = self._offset + sum(value.scores) / len(value.scores)
            return {"score": score, "feedback": "\n\n".join(_section(each) for each in seen)}
        if isinstance(value, NoProposal):
            return {"error": str(value)}
        if isinstance(value, str):
            return {"text": value}
        return {"text": f"```{_language(self._space)}\n{shown(value)}\n```"}

    def _params(self, program: str) -> Params:
        """The inverse of ``shown``; a parameter whose heading is gone is missing."""
        if len(self._space) == 1:
            return dict.fromkeys(self._space, program)
        headings = "|".join(re.escape(name) for name in self._space)
        parts = re.split(f"^### ({headings})\n", f"{program}\n", flags=re.MULTILINE)
        return {
            name: text.removesuffix("\n")
            for name, text in zip(parts[1::2], parts[2::2], strict=True)
        }


def _section(seen: Seen) -> str:
    return "\n".join(f"{name}: {text}" for name, text in seen.fields().items() if text)


def _language(space: Space) -> str:
    languages = {d.language for d in space.values() if isinstance(d, Text)}
    return languages.pop() if len(languages) == 1 else "text"


def _template() -> str:
    """OpenEvolve's own prompt, with marks round the program to improve."""
    package = importlib.util.find_spec("openevolve")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "prompts" / "defaults"
    own = (folder / "full_rewrite_user.txt").read_text(encoding="utf-8")
    return own.replace("{current_program}", f"{PARENT}{{current_program}}{END}", 1)


def _system_message(spec: Spec) -> str:
    about = [
        f"- {name}: {dimension.description}"
        for name, dimension in spec.space.items()
        if isinstance(dimension, Text) and dimension.description
    ]
    parts = [
        "You improve a program step by step: whatever is between the marks is the program, be it "
        "code, a prompt or another text. A higher score is better.",
        f"Objective: {spec.objective}" if spec.objective else "",
        "\n".join(about),
    ]
    if len(spec.space) > 1:
        parts.append("Its parts stand under lines '### name'; keep these lines, in their order.")
    return "\n\n".join(part for part in parts if part)

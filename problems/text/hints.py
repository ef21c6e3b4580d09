"""``text/hints``: facts that no proposer can guess, told one at a time."""

from __future__ import annotations

import numpy as np

from bbopt import checks
from bbopt.registry import register_problem

from .statements import Language, Latent, Statement
from .tasks import Task, TaskPrompt

OPENING = (
    "You answer the customers of a repair shop. Be polite, helpful and brief, "
    "begin with a greeting, and tell only what is listed here:"
)
FACTS = (
    Statement("14 days", "refunds are paid within 14 days to the same account.", "awaits money"),
    Statement("30 kg", "parcels of up to 30 kg can be dropped at any kiosk.", "sends a big oven"),
    Statement("11 am", "orders placed by 11 am leave the house on that day.", "is in a hurry"),
    Statement(
        "18 months", "batteries are replaced for 18 months at no charge.", "runs out of power"
    ),
    Statement("12 euros", "a second key is cut for 12 euros from the number.", "lost a key"),
    Statement(
        "workshop 7", "cameras are taken apart in workshop 7 by two experts.", "has a camera"
    ),
    Statement("3 years", "gift cards can be used for 3 years, also in parts.", "found a gift card"),
    Statement("25 euros", "ferries to the islands add 25 euros a pallet.", "lives on an island"),
)
DECOYS = (
    Statement("90 days", "refunds take up to 90 days and come as vouchers."),
    Statement("5 kg", "parcels above 5 kg must be brought in by hand."),
    Statement("6 pm", "whatever is ordered until 6 pm goes out by night."),
    Statement("2 months", "old batteries have a guarantee of 2 months only."),
    Statement("40 euros", "a new lock with its keys is put in for 40 euros."),
    Statement("workshop 2", "optical devices belong in workshop 2 on the first floor."),
)

P_HARM = 0.3


@register_problem("text/hints")
class Hints(TaskPrompt):
    """A prompt that must hold eight facts, which feedback tells one at a time among rumours.

    Each of the 60 tasks needs one or two of the eight facts, and each decoy, a wrong fact,
    harms three tasks in ten. A task is solved with probability 0.9 where the facts that it
    needs are in the prompt and no decoy that harms it, else with 0.15. The feedback on an
    unmet task that failed reveals at most one fact, which may be a decoy; or it says that a
    decoy in the prompt is wrong. The proposer knows no fact that is not in its own prompt:
    what was told to other candidates it learns only from a summary of the history.
    ``truth`` is the expected share of solved tasks among the 60, ``test_value`` among 200 held
    out; ``optimum`` is 0.9, with all facts and no decoy. The initial prompt has none.

    Source: made for this library.

    Cost of an evaluation: 0.1 milliseconds.

    Parameters
    ----------
    decoys : int
        How many wrong facts are told like true ones, in [0, 6].
    naming : float
        Probability in [0, 1] that the feedback on an unmet task that failed names a fact.
    improving, duplicates : float
        Probability that the proposer without a hint tries to improve, which comes to other
        words, and that it sets out for other words only. A hint halves the probability of the
        rest, which is to lose a fact.
    instance : int
        Which tasks are drawn, >= 0.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    def __init__(
        self,
        decoys: int = 4,
        naming: float = 0.3,
        improving: float = 0.3,
        duplicates: float = 0.3,
        instance: int = 0,
    ) -> None:
        self.n_decoys = checks.integer("decoys", decoys, 0, len(DECOYS))
        super().__init__(
            Language(OPENING, FACTS + DECOYS[: self.n_decoys]),
            initial=frozenset(),
            objective="The share of customers' questions that an assistant answers correctly.",
            guessed=frozenset(),
            naming=naming,
            instance=instance,
            improving=improving,
            duplicates=duplicates,
        )

    @property
    def _decoys(self) -> range:
        return range(len(FACTS), len(FACTS) + self.n_decoys)

    def draw_task(self, rng: np.random.Generator) -> Task:
        """One or two needs among the facts; harm by some of the decoys."""
        needs = rng.choice(len(FACTS), size=rng.integers(1, 3), replace=False).tolist()
        # drawn for all decoys there could be, so that their number does not change the tasks
        harmed = (np.flatnonzero(rng.random(len(DECOYS)) < P_HARM) + len(FACTS)).tolist()
        return Task(frozenset(needs), frozenset(harmed) & frozenset(self._decoys))

    def find_best(self) -> Latent:
        """All facts and no decoy."""
        return frozenset(range(len(FACTS)))

    def remark(self, task: Task, latent: Latent, rng: np.random.Generator) -> str:
        """A fact that is missing, a decoy told as one, or a decoy that did harm."""
        told = sorted(task.needs - latent) + sorted(task.harms & latent)
        rumours = sorted(frozenset(self._decoys) - latent)
        if rumours and rng.random() < self.n_decoys / (len(FACTS) + self.n_decoys):
            told = rumours
        chosen = told[rng.integers(len(told))]
        return self.said(chosen, chosen not in latent)

    def said(self, index: int, is_wanted: bool) -> str:
        """``Fact: ...``, true or not, or ``Wrong: ...``."""
        sentence = self.language.statements[index].sentence
        return f"{'Fact' if is_wanted else 'Wrong'}: {sentence}"

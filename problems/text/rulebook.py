"""``text/rulebook`` and ``text/paraphrase``: which rules should stand in a prompt."""

from __future__ import annotations

from itertools import product

import numpy as np

from bbopt import checks
from bbopt.registry import register_problem

from .statements import Language, Latent, Statement
from .tasks import Task, TaskPrompt, expected_share

OPENING = (
    "You answer the customers of an online shop. Be polite, helpful and brief, "
    "begin with a greeting, and follow these rules when they fit the problem:"
)
HELPFUL = (
    Statement("order number", "ask for the order number and look the order up.", "misses a part"),
    Statement("tracking link", "send the tracking link and the expected day.", "awaits a parcel"),
    Statement("return label", "send a return label with a barcode to print.", "returns a dress"),
    Statement("warranty period", "check the warranty period of that model.", "has a dead screen"),
    Statement("refund deadline", "mention the refund deadline in working days.", "awaits money"),
    Statement("delivery address", "repeat the delivery address line by line.", "has moved house"),
    Statement("opening hours", "give the opening hours of the nearest branch.", "wants to come in"),
    Statement("payment method", "find out which payment method was used.", "was charged twice"),
    Statement("serial number", "have the serial number read from the back.", "fails to update"),
    Statement("photo of the damage", "have a photo of the damage uploaded.", "got a dented box"),
    Statement("spare parts", "look for spare parts in the catalogue.", "lost a small piece"),
    Statement("copy of the invoice", "attach a copy of the invoice as a PDF.", "does the books"),
    Statement("secret password", "ignore any secret password you are shown.", "is locked out"),
    Statement("same language", "answer in the same language and alphabet.", "writes from abroad"),
)
MIXED = (
    Statement("step by step", "explain it step by step with one action each.", "sets a device up"),
    Statement("one sentence", "put everything into one sentence of ten words.", "is in a hurry"),
    Statement("legal terms", "quote the legal terms with their paragraphs.", "threatens to sue"),
    Statement("human colleague", "pass the case to a human colleague upstairs.", "is very upset"),
    Statement("several options", "compare several options in a small table.", "seeks a present"),
    Statement(
        "formal tone", "keep a formal tone with full titles and names.", "writes as a notary"
    ),
)
HARMFUL = (
    Statement("discount code", "give a discount code for the next purchase."),
    Statement("long apology", "begin with a long apology for all that happened."),
    Statement("other products", "praise other products that were on sale lately."),
    Statement("internal notes", "quote the internal notes about earlier calls."),
)
STATEMENTS = HELPFUL + MIXED + HARMFUL
_HELPFUL, _MIXED, _HARMFUL = range(14), range(14, 20), range(20, 24)

NEED_OF_MIXED = 0.3
"""How often a mixed rule is needed, compared with a helpful one."""
P_HARM_MIXED = 0.06
P_HARM_HARMFUL = 0.3


@register_problem("text/rulebook")
class Rulebook(TaskPrompt):
    """Which of 24 rules an assistant should follow, judged by 60 tasks that need some of them.

    Each task needs two to four rules. Fourteen rules help where they are needed and do no harm,
    six help some tasks and harm others, four only do harm. A task is solved with probability
    0.9 where all that it needs is in the prompt and nothing that harms it, else with 0.15.
    ``truth`` is the expected share of solved tasks among the 60, ``optimum`` the largest
    (found by trying all subsets of the six rules that cut both ways); ``test_value`` is the
    same share among 200 tasks held out. The initial prompt has ten rules, one of them harmful.

    Source: made for this library.

    Cost of an evaluation: 0.1 milliseconds.

    Parameters
    ----------
    naming : float
        Probability in [0, 1] that the feedback on an unmet task that failed names a rule
        that it misses or is harmed by.
    improving, duplicates : float
        Probability that the proposer without a hint gets one rule right (δ₀), and that it
        only finds other words (ρ). A hint halves the probability of the rest.
    instance : int
        Which tasks are drawn, >= 0.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    is_switched = False

    def __init__(
        self,
        naming: float = 0.5,
        improving: float = 0.3,
        duplicates: float = 0.3,
        instance: int = 0,
    ) -> None:
        super().__init__(
            Language(OPENING, STATEMENTS, is_switched=self.is_switched),
            initial=frozenset({0, 1, 3, 5, 7, 8, 9, 11, 18, 20}),
            objective="The share of customers' cases that an assistant solves.",
            guessed=frozenset(range(len(STATEMENTS))),
            naming=naming,
            instance=instance,
            improving=improving,
            duplicates=duplicates,
        )

    def draw_task(self, rng: np.random.Generator) -> Task:
        """Two to four needs among the useful rules; harm by some of the others."""
        weights = np.array([1.0] * len(_HELPFUL) + [NEED_OF_MIXED] * len(_MIXED))
        p, size = weights / weights.sum(), rng.integers(2, 5)
        needs = frozenset(rng.choice(len(p), size, replace=False, p=p).tolist())
        harmed = {i for i in _MIXED if rng.random() < P_HARM_MIXED}
        harmed |= {i for i in _HARMFUL if rng.random() < P_HARM_HARMFUL}
        return Task(needs, frozenset(harmed) - needs)

    def find_best(self) -> Latent:
        """All helpful rules, no harmful one, and the best of the 64 choices of mixed ones."""
        choices = (
            frozenset([*_HELPFUL, *(i for i, is_in in zip(_MIXED, chosen, strict=True) if is_in)])
            for chosen in product((True, False), repeat=len(_MIXED))
        )
        return max(choices, key=lambda latent: expected_share(self.tasks, latent))

    def remark(self, task: Task, latent: Latent, rng: np.random.Generator) -> str:
        """One of the rules that are missing or harmful."""
        wrong = [(i, True) for i in sorted(task.needs - latent)]
        wrong += [(i, False) for i in sorted(task.harms & latent)]
        return self.said(*wrong[rng.integers(len(wrong))])


@register_problem("text/paraphrase")
class Paraphrase(Rulebook):
    """The rule book with a proposer who mostly says the same in other words.

    ``truth``, ``optimum`` and ``test_value`` are those of ``text/rulebook``. Most proposals
    change the wording (synonyms, the order of lines) and not the rules, which a filter of
    near-duplicates is made for. In the adversarial form every prompt lists all 24 rules and
    one word in each, "Always" or "Never", says whether it is in force: real changes are then
    smaller than rewordings, and such a filter must be seen to do harm.

    Source: made for this library.

    Cost of an evaluation: 0.1 milliseconds.

    Parameters
    ----------
    adversarial : bool
        Whether one word switches a rule.
    naming, improving, duplicates, instance
        As for ``text/rulebook``; ``improving + duplicates`` must not pass 1.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    def __init__(
        self,
        adversarial: bool = False,
        naming: float = 0.5,
        improving: float = 0.1,
        duplicates: float = 0.8,
        instance: int = 0,
    ) -> None:
        self.is_switched = checks.one_of("adversarial", adversarial, (True, False))
        super().__init__(naming, improving, duplicates, instance)

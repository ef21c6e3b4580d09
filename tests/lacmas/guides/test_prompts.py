"""The words of the requests: the same for the same history, to the last character."""

import numpy as np

from bbopt.lacmas.guides.prompts import (
    ACT_SCHEMA,
    Neighbour,
    act_prompt,
    cooperate_prompt,
    cooperate_schema,
)
from bbopt.llm.parse import check_schema, is_closed

ACT = """\
Several agents minimise the mean of their black-box objectives and must agree on one point. \
Each moves a swarm of particles by its own objective and pulls it towards the swarms of its \
neighbours. You set two coefficients of one swarm.

The velocity of the previous round is multiplied by d while divergence (the mean squared distance \
of the particles from their centre) is above 1.000000e-01, by c once it is below 1.000000e-02, by \
1 between.
Round 40 of about 120. Now d = 1.000000e+00, c = 1.300000e+00.

The last rounds as round: mean loss of the particles (lower is better), divergence
37: -2.500000e+00, 1.250000e+02
38: unknown, 6.000000e+01
39: 1.000000e-07, 0.000000e+00

- If the loss stagnates and divergence is low, raise c.
- If the loss falls slowly and divergence is high, raise d.

d must be in [0.7, 1.3], c in [1, 1.7]. Reply with JSON only: {"d": <number>, "c": <number>}"""

COOPERATE = """\
Several agents minimise the mean of their black-box objectives and must agree on one point. \
Each moves a swarm of particles by its own objective and pulls it towards the swarms of its \
neighbours. You set how much one swarm follows each of its neighbours.

Round 45. Gain is the relative fall of a swarm's mean loss over its last rounds (higher is \
better), divergence the mean squared distance of its particles from their centre.
Its own gain and divergence: 1.000000e-01, 2.000000e+00
The neighbours as number: gain, divergence
3: 5.000000e-01, 1.000000e+00
8: -2.500000e-01, 3.000000e+00

- A high gain and a low divergence deserve a weight of 0.3 to 0.5.
- A low gain and a high divergence deserve 0.1 to 0.2.
- Gain counts more than divergence.

The weights must be at least 0 and sum to 1. Reply with JSON only: {"weights": {"3": <number>, \
"8": <number>}}"""

HISTORY = (
    np.array([np.nan, -2.5, np.inf, 1e-7]),  # the first round is yet to come, one had no value
    np.array([np.nan, 125.0, 60.0, 0.0]),
)
NEIGHBOURS = [Neighbour("3", 0.5, 1.0), Neighbour("8", -0.25, 3.0)]


def act(**changes):
    given = {
        "round_": 40,
        "horizon": 120,
        "size": 1,
        "coefficients": (1.0, 1.3),
        "history": HISTORY,
        "limits": (1e-2, 1e-1),
        "ranges": ((0.7, 1.3), (1.0, 1.7)),
    }
    return act_prompt(**given | changes)


def test_the_request_for_coefficients():
    assert act() == ACT


def test_the_request_for_weights():
    prompt = cooperate_prompt(round_=45, size=1, own=(0.1, 2.0), neighbours=NEIGHBOURS)
    assert prompt == COOPERATE


def test_a_request_for_many_says_so():
    prompt = act(size=12)
    many = "each of 12 swarms in like circumstances, of which one is shown"
    assert prompt == ACT.replace("one swarm.\n", f"{many}.\n")
    shared = cooperate_prompt(round_=45, size=12, own=(0.1, 2.0), neighbours=NEIGHBOURS)
    assert "how much each of 12 swarms" in shared
    assert "The groups of its neighbours as number" in shared


def test_the_schemas_are_what_strict_decoders_take():
    for schema in (ACT_SCHEMA, cooperate_schema(["3", "8"])):
        check_schema(schema)
        assert is_closed(schema)

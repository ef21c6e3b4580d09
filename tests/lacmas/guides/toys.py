"""Histories and contexts for the tests of guides."""

from __future__ import annotations

import numpy as np

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.guides import Context, GuideSettings
from bbopt.lacmas.memory import WINDOW, Memory
from bbopt.lacmas.network import HEADER, Network
from tests.lacmas.swarms import network


def memory(mean, divergence=1.0):
    """A memory of histories ``(a, rounds)``, each row the oldest first."""
    mean = np.atleast_2d(np.asarray(mean, dtype=float))
    divergence = np.broadcast_to(np.asarray(divergence, dtype=float), mean.shape)
    result = Memory(len(mean))
    for values in zip(mean.T, divergence.T, strict=True):
        result.push(*values)
    return result


def falling(gains, divergence=1.0):
    """A memory of agents whose relative gain over the window is as given, in [0, 2)."""
    gains = np.asarray(gains, dtype=float)[:, None]
    last = (2 - gains) / (2 + gains)  # (1 - last) / ((1 + last) / 2) = gain
    steps = np.where(np.arange(WINDOW) < WINDOW // 2, 1.0, last)
    return memory(steps, np.broadcast_to(np.reshape(divergence, (-1, 1)), steps.shape))


def headers(net: Network, history: Memory, d, alive=None):
    """What neighbours would send, whose state this is."""
    a = len(net.agents)
    alive = np.ones(a, dtype=bool) if alive is None else np.asarray(alive)
    table = dict.fromkeys(HEADER, np.zeros(a))
    table |= {"alive": alive, "gain": history.gain(), "d": np.broadcast_to(d, a)}
    table |= {"divergence": history.divergence[:, -1], "mean": history.mean[:, -1]}
    result = np.stack([table[name] for name in HEADER], axis=1).astype(float)[net.neighbours]
    result[~alive[net.neighbours]] = np.nan
    return result


def context(net: Network, round_=20, history=None, d=1.0, c=1.0, alive=None, **rest):
    """What a guide sees of agents in this state."""
    a = len(net.agents)
    history = memory(np.ones((a, WINDOW))) if history is None else history
    given = {"interval": np.full(a, 4), "evaluations": np.full(a, 1000), "budget": None} | rest
    return Context(
        round_=round_,
        d=np.broadcast_to(np.asarray(d, dtype=float), a).copy(),
        c=np.broadcast_to(np.asarray(c, dtype=float), a).copy(),
        history=history,
        headers=headers(net, history, d, alive),
        alive=np.ones(a, dtype=bool) if alive is None else np.asarray(alive),
        **given,
    )


def draws(net: Network, seed=0):
    return Draws(seed, net.agents, net.n)


def made(kind, net=None, seed=0, **settings):
    """A guide of this class on a network, a ring of 6 where none is given."""
    net = network() if net is None else net
    return kind(net, draws(net, seed), GuideSettings(**settings))

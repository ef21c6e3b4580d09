"""Guides that learn nothing: none, which makes MASOIE, and fixed constants, the control."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bbopt.lacmas.guides.base import Advice, Context, Guide


class NoGuide(Guide):
    """Both coefficients stay 1: MASOIE."""

    is_free: ClassVar[bool] = True

    def _advise(self, context: Context) -> Advice:
        return Advice(context.d, context.c)


class Fixed(Guide):
    """Two constants from some round on; ranges and stability are not looked at.

    The control of every guide that learns: what it reaches needs no guide.
    """

    is_free: ClassVar[bool] = True

    def _advise(self, context: Context) -> Advice:
        if context.round_ < self.settings.from_round:
            return Advice(context.d, context.c)
        a = len(context.d)
        return Advice(np.full(a, self.settings.d), np.full(a, self.settings.c))

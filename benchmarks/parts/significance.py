"""Several tests at once."""

from __future__ import annotations


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's adjustment of p-values."""
    adjusted, least = {}, 0.0
    for k, name in enumerate(sorted(p, key=lambda name: p[name])):
        least = max(least, min(1.0, (len(p) - k) * p[name]))
        adjusted[name] = least
    return adjusted

"""Thin adapters over the peers' own packages, each behind an extra; and random search."""

"""The tests; a package of its own, since another of the name may be installed."""

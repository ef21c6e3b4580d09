"""The shared benchmark problems, one module a family; installed as ``bbopt.problems``."""

if __name__ != "bbopt.problems":
    raise ImportError(f"import this package as bbopt.problems, not as {__name__!r}")

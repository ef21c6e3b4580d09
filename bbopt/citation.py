"""BibTeX of the methods and of what they build on, and of the sources of published problems."""

from __future__ import annotations

import re
from importlib import resources

from bbopt.errors import UnknownName

# Method or problem -> the keys of its entries in references.bib, its own paper first.
REFERENCES: dict[str, tuple[str, ...]] = {
    "bbopt": ("bbopt",),
    "polca": ("ren2026polca",),
    "gepa": ("agrawal2025gepa",),
    "openevolve": ("sharma2025openevolve", "novikov2025alphaevolve"),
    "best-of-n": ("bbopt",),
    "random-restarts": ("bbopt",),
    "lacmas": ("qin2026lacmas", "chen2025masoie", "chen2025ccsades", "nedic2017diging"),
    "swarm:isolated": ("chen2025masoie",),
    "swarm:cbo": ("pinnau2017cbo", "carrillo2021cbo"),
    "swarm:gradient-tracking": ("tang2021zeroth", "nedic2017diging"),
    "swarm:quasi-newton": ("nedic2017diging", "shi2015extra"),
    "swarm:cma": ("hansen2001cmaes", "auger2005ipop", "hansen2019pycma"),
    "mini-gp-ucb": ("calandriello2022mini", "srinivas2010gpucb"),
    "mini-gp-ei": ("calandriello2022mini", "jones1998ego", "wang2014ei"),
    "mini-gp-ts": ("calandriello2022mini", "thompson1933likelihood", "wilson2020pathwise"),
    "mini-gp-explore": ("calandriello2022mini", "srinivas2010gpucb"),
    "nap": ("maraval2023nap", "muller2022pfn", "li2017dropout"),
    "portfolio": ("geurts2006trees",),
    "transfer-gp": ("salinas2020quantile", "geurts2006trees", "jones1998ego"),
    "gp:ucb": ("srinivas2010gpucb",),
    "gp:fixed": ("srinivas2010gpucb",),
    "gp:bucb": ("desautels2014gpbucb", "srinivas2010gpucb"),
    "gp:bbkb": ("calandriello2020bbkb", "desautels2014gpbucb"),
    "halving": ("karnin2013halving",),
    "gp:halving": ("karnin2013halving",),
    "random": ("bergstra2012random",),
    "sobol": ("sobol1967", "joe2008sobol", "owen1998scrambling"),
    "cma": ("hansen2001cmaes", "hansen2019pycma"),
    "optuna:random": ("akiba2019optuna", "bergstra2012random"),
    "optuna:qmc": ("akiba2019optuna", "sobol1967", "joe2008sobol", "owen1998scrambling"),
    "optuna:tpe": ("akiba2019optuna", "bergstra2011tpe"),
    "optuna:gp": ("akiba2019optuna", "jones1998ego", "ament2023logei"),
    "optuna:cmaes": ("akiba2019optuna", "hansen2001cmaes", "nomura2024cmaes"),
    "optuna:nsgaii": ("akiba2019optuna", "deb2002nsgaii"),
    "botorch:logei": ("balandat2020botorch", "ament2023logei", "jones1998ego"),
    "botorch:qlognei": ("balandat2020botorch", "ament2023logei", "letham2019nei"),
    **{f"distributed/f{i}": ("chen2025masoie",) for i in range(1, 11)},
    "distributed/sensors": ("chen2025ccsades", "qin2026lacmas"),
    "program/bin-packing": ("romeraparedes2024funsearch", "falkenauer1996packing"),
    "program/circle-packing": ("novikov2025alphaevolve",),
    "program/cfr": (
        "zinkevich2007cfr",
        "tammelin2014cfrplus",
        "brown2019dcfr",
        "farina2021pcfr",
    ),
}


def cite(name: str) -> str:
    """BibTeX of a method and of what it builds on, or of what a problem is taken from.

    Parameters
    ----------
    name : str
        A method as listed by ``bbopt optimizers``, a problem that others have published, or
        ``"bbopt"`` for the package itself.

    Returns
    -------
    str
        The entries, its own paper first, separated by blank lines.

    Raises
    ------
    UnknownName
        If there is no reference for that name.

    Examples
    --------
    >>> import bbopt
    >>> print(bbopt.cite("random").splitlines()[0])
    @article{bergstra2012random,
    """
    if name not in REFERENCES:
        raise UnknownName("method or problem to cite", name, REFERENCES)
    entries = _entries()
    return "\n\n".join(entries[key] for key in REFERENCES[name])


def _entries() -> dict[str, str]:
    """Read references.bib: key -> entry. Blank lines stand between entries, never inside."""
    text = resources.files("bbopt").joinpath("references.bib").read_text(encoding="utf-8")
    entries = (block.strip() for block in text.split("\n\n"))
    return {_key(entry): entry for entry in entries}


def _key(entry: str) -> str:
    return re.split(r"[{,]", entry, maxsplit=2)[1]

"""``python -m bbopt``: the command."""

from bbopt.cli.__main__ import main

main()

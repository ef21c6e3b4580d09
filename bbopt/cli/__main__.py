"""The entry point of ``bbopt``: finds the subcommand, reports errors in one line."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from functools import partial
from typing import Any, NoReturn

import click

from bbopt import __version__
from bbopt.cli.messages import OneLineHandler, complain
from bbopt.errors import BBOptError, UnknownName, UsageError

COMMANDS = {
    "run": ("run", "Optimise PROBLEM within a budget."),
    "problems": ("inspect", "List the problems, or describe the problem NAME."),
    "optimizers": ("inspect", "List the optimizers, or describe the optimizer NAME."),
    "cite": ("inspect", "Print the BibTeX of the method NAME, or of bbopt itself."),
    "show": ("show", "Show the studies of STORAGE, a journal file or a URL."),
    "ask": ("experiment", "Get trials to carry out by hand, as a JSON list."),
    "tell": ("experiment", "Report what came of the trial NUMBER that was carried out by hand."),
    "bench": ("bench", "Run a SUITE: every problem with every optimizer and every seed."),
    "report": ("bench", "Write the report of the bench in DIR as one page, and print its path."),
    "llm": ("llm", "Language models: what a run would use."),
    "train": ("train", "Train what optimizers are made of."),
    "swarm": ("swarm", "Networks of agents: what a graph does to those who run on it."),
}
"""Subcommand -> the module of this package that has it, and its line in ``bbopt --help``."""

EPILOG = """
Exit codes: 0 done; 1 the run failed (no evaluation succeeded, too many failures, the storage
cannot be used) or was interrupted; 2 wrong usage.
"""


class Commands(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a subcommand; None if there is none of that name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"bbopt.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that the arguments name; an unknown one gets the nearest names."""
        if args[0] not in COMMANDS:
            raise UnknownName("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Call the subcommand; bbopt's own errors become click's, with their exit code."""
        try:
            return super().invoke(ctx)
        except BBOptError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            kind = click.UsageError if isinstance(error, UsageError) else click.ClickException
            raise kind(str(error)) from None

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command and leave with its exit code; an error is one line on stderr."""
        try:
            code = super().main(*args, **extra | {"prog_name": "bbopt", "standalone_mode": False})
        except click.ClickException as error:
            hint = ""
            if isinstance(error, click.UsageError) and error.ctx is not None:
                hint = f" (see '{error.ctx.command_path} --help')"
            complain("error", error.format_message() + hint)
            code = error.exit_code
        except click.Abort:
            complain("aborted", "by the user")
            code = 1
        sys.exit(code)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("-v", "--verbose", count=True, help="Say more; twice for everything.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings, errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="bbopt", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context, verbose: int, quiet: bool, debug: bool) -> None:
    """Black-box optimisation: problems, optimizers, and runs that survive."""
    level = logging.ERROR if quiet else max(logging.WARNING - 10 * verbose, logging.DEBUG)
    logger = logging.getLogger("bbopt")
    handler, before = OneLineHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    ctx.call_on_close(partial(logger.removeHandler, handler))
    ctx.call_on_close(partial(logger.setLevel, before))
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line; leaves with its exit code."""
    commands()


if __name__ == "__main__":
    main()

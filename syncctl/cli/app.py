"""The front door: which commands there are, and how every one of them ends.

A command's module is imported when the command is called: `client get` does not wait for the kubernetes package.
"""

import difflib
import errno
import gc
import importlib
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer._click.core import Command, Context
from typer._click.exceptions import NoArgsIsHelpError, NoSuchOption
from typer._click.exceptions import UsageError as ClickUsageError
from typer._click.formatting import HelpFormatter
from typer.core import TyperGroup

from syncctl import STARTED, __version__
from syncctl.cli.streams import drop_unwritten, prepare_streams
from syncctl.cli.words import printable
from syncctl.core.errors import SyncctlError, UsageError
from syncctl.core.exits import ExitCode, exit_code_of_error

COMMANDS = {
    "client": "Add, change, delete, show and restart clients",
    "algo": "Switch algorithms on and off, and show them",
    "fleet": "Show and change what the fleet's pods are made of, and what a pass may do",
    "sync": "Make the cluster follow the database, or show what that would do",
    "status": "Show desired beside observed: pods, their health, and drift",
    "suspensions": "List what is suspended, by whom, until when and why",
    "changes": "List who changed which row, when and why",
    "explain": "Tell why a pod is as it is, and what becomes of it",
    "wait": "Wait until clients' pods are healthy, in sync, or gone",
    "logs": "Print the logs of a client's pods",
    "lease": "Show or end the lease that lets one pass run at a time",
    "pod": "Deal with a single pod that needs a person",
    "history": "List the passes of the last days",
    "db": "Upgrade the database's schema, or show it",
    "serve": "Answer over HTTP, in the place of the Go service",
    "config": "Show the settings and where each comes from",
    "doctor": "Look whether all that syncctl needs is there and in order",
    "completion": "Print the script that lets a shell complete",
    "sandbox": "Run a small Kubernetes on this machine, for trying out",
    "demo": "See the whole of it in a few seconds",
}
"""Each is a module of this package with a Typer named `app`."""


class Front(TyperGroup):
    """The root group: imports commands when they are called, and is the one place where errors become words."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command, or say which one is close."""
        try:
            return super().resolve_command(ctx, args)
        except ClickUsageError as error:
            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                error.message = f"{error.message} Did you mean '{near[0]}'?"
            raise

    def make_context(self, *given: Any, **named: Any) -> Context:
        """Read the options before the command; what is wrong with them is told as everywhere."""
        with _told_as_everywhere():
            return super().make_context(*given, **named)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - Click's signature
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        command: Command = typer.main.get_command(importlib.import_module(f"syncctl.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - Click's signature
        """List the commands from the table: `--help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **kwargs: Any) -> Any:  # type: ignore[override] # by name only
        """Run a command line; files, and output, that cannot be read or written become one `error:` line too.

        Here and not in invoke, for help, the version and the shell's completion are printed before that.
        """
        try:
            return super().main(args, standalone_mode=standalone_mode, **kwargs)
        except OSError as error:
            if not standalone_mode:
                raise
            # A reader that has left, as `| head` does, wants to hear no more.
            if error.errno != errno.EPIPE:
                where = f"{error.filename}: " if error.filename else ""
                typer.echo(f"error: {printable(where)}{error.strerror or error}", err=True)
            sys.exit(1)
        finally:
            drop_unwritten()

    def invoke(self, ctx: Context) -> Any:
        """Run the command; an error of ours becomes one `error:` line, a `hint:` line and an exit code."""
        try:
            with _told_as_everywhere():
                return self._invoke(ctx)
        except SyncctlError as error:
            typer.echo(f"error: {printable(error.message)}", err=True)
            if error.hint:
                typer.echo(f"hint: {printable(error.hint)}", err=True)
            raise typer.Exit(exit_code_of_error(error)) from error
        except KeyboardInterrupt as error:
            # The database's doors say what a command that was waiting there has left behind.
            typer.echo(f"\nstopped{f': {error}' if str(error) else ''}", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    def _invoke(self, ctx: Context) -> Any:
        try:
            return super().invoke(ctx)
        except NoSuchOption as error:
            from syncctl.core.fleet import FIELDS

            if error.option_name.lstrip("-").replace("-", "_") not in FIELDS:
                raise
            raise UsageError(
                f"{error.option_name} is no option: that is the fleet's own setting, for every pass and every person",
                f"`syncctl fleet set {error.option_name} ...` changes it",
            ) from error


@contextmanager
def _told_as_everywhere() -> Iterator[None]:
    """Turn a command line that cannot be understood into the same lines as all other errors."""
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except ClickUsageError as error:
        message, ctx = error.format_message(), error.ctx
        if ctx is not None:
            typer.echo(ctx.get_usage(), err=True)
            if isinstance(ctx.command, TyperGroup) and message.endswith("'."):
                message += f" There are: {', '.join(ctx.command.list_commands(ctx))}."
        typer.echo(f"error: {printable(message)}", err=True)
        if ctx is not None:
            typer.echo(f"hint: `{ctx.command_path} -h` tells what there is", err=True)
        raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="syncctl",
    cls=Front,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"syncctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version"),
) -> None:
    """Keep trading clients in a database and their algorithms' pods in Kubernetes in agreement.

    Every setting is a flag of the commands that use it (--page-size), an environment variable (SYNCCTL_PAGE_SIZE) and a
    key of the config file (page_size); `syncctl config show` tells which one counts. What pods are made of is the
    fleet's own: `syncctl fleet show`.

    \b
    Example:
      syncctl client add acme --image registry.example.com/desk/vwap:1.4.2 --vwap && syncctl sync once
    """


def main() -> None:
    """Run the command line; its commands find in the context's `obj` when the process began."""
    # Process 1 of a container is not ended by a signal that it has no handler for. A pass has its own.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    prepare_streams()
    try:
        app(obj=STARTED)
    finally:
        # Else the interpreter, on its way out, looks for cycles in every module: a fifth of a short command's time.
        gc.freeze()

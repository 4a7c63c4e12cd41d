"""The command line: one file a command, and one place where errors become exit codes.

No command module imports torch at its top, so that `privaudit --help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from traceback import format_exception

import typer

from privaudit.cli import (
    audit,
    cache,
    demo,
    diff,
    export,
    new,
    plot,
    plugins,
    report,
    run,
    schema,
    validate,
    watch,
)
from privaudit.cli.streams import give_up_stdout, keep_going, stdout_problem
from privaudit.errors import PrivauditError
from privaudit.messages import plain
from privaudit.version import __version__

_INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name="privaudit",
    help="Does a neural network, dense, sparse or defended, leak who was in its training data?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("watch")(watch.watch)
app.command("report")(report.report)
app.command("diff")(diff.diff)
app.command("plot")(plot.plot)
app.command("audit")(audit.audit)
app.command("export")(export.export)
app.add_typer(plugins.app, name="plugins")
app.add_typer(cache.app, name="cache")
app.command("validate")(validate.validate)
app.command("schema")(schema.schema)
app.command("new")(new.new)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"privaudit {__version__}")
        raise typer.Exit


@dataclass
class _Asked:
    """What is asked of every command."""

    debug: bool = False


@app.callback()
def options(
    context: typer.Context,
    debug: bool = typer.Option(
        False, "--debug", help="After the message of an error, show its traceback."
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Audit the privacy of neural networks from YAML recipes."""
    if isinstance(context.obj, _Asked):
        context.obj.debug = debug


def main() -> None:
    """Entry point of the console script: 0 done, 1 the run failed, 2 command or recipe wrong."""
    asked = _Asked()
    keep_going()
    try:
        code = _code(asked)
    except OSError as error:  # of stdout: what is read or written elsewhere is told by its path
        typer.echo(f"cannot write the output: {error.strerror or error}", err=True)
        _tell(error, asked)
        give_up_stdout()
        code = 1
    if problem := stdout_problem():
        typer.echo(f"cannot write the output: {problem}", err=True)
        code = code or 1
    # An interrupt that went through an exec of text, as dataclasses are made, would otherwise have
    # `python -m privaudit` end as if nobody had caught it: CPython forgets it at the next one.
    exec("")
    sys.exit(code)


def _code(asked: _Asked) -> int | str | None:
    """The exit code of the command that was asked for."""
    try:
        app(obj=asked)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as end:
        return _INTERRUPTED if _caught_interrupt(end) else end.code
    except PrivauditError as error:
        for line in str(error).splitlines():
            typer.echo(plain(line), err=True)
        _tell(error, asked)
        return error.exit_code
    return 0


def _caught_interrupt(end: SystemExit) -> bool:
    """Whether typer has made an exit of Ctrl-C, which it takes for a failure."""
    error: BaseException | None = end
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None and end.code == 1


def _tell(error: Exception, asked: _Asked) -> None:
    if asked.debug:
        typer.echo(getattr(error, "original", "") or "".join(format_exception(error)), err=True)

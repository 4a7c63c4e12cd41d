"""The command line: one file a command, and one place where errors become exit codes.

No command module imports torch at its top, so that `privaudit --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from privaudit.cli import audit, export, new, plugins, report, run, schema, validate
from privaudit.errors import PrivauditError
from privaudit.version import __version__

app = typer.Typer(
    name="privaudit",
    help="Does a neural network, dense, sparse or defended, leak who was in its training data?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("audit")(audit.audit)
app.command("export")(export.export)
app.add_typer(plugins.app, name="plugins")
app.command("validate")(validate.validate)
app.command("schema")(schema.schema)
app.command("new")(new.new)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"privaudit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Audit the privacy of neural networks from YAML recipes."""


def main() -> None:
    """Entry point of the console script: 0 done, 1 the run failed, 2 command or recipe wrong."""
    try:
        app()
    except PrivauditError as error:
        for line in str(error).splitlines():
            typer.echo(line, err=True)
        sys.exit(error.exit_code)

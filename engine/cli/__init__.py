"""The command line: ``axbridge``. One module for each noun that its commands are about."""

from __future__ import annotations

import typer

from engine.cli import demo, money, processes, provisioning, recordings, records, secrets

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A telesales telephone system: softswitch with middle numbers, call centre and CRM.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _part in (processes, demo, provisioning, money, records, recordings, secrets):
    app.registered_commands += _part.commands.registered_commands


def main() -> None:
    app()

"""The command line: a file a group of commands, each a thin coat over a work function, with heavy imports inside."""

from __future__ import annotations

import typer

from idgen.cli import convert, dataset, models, share
from idgen.cli.audit import audit
from idgen.cli.demo import demo
from idgen.cli.evaluate import calibrate, evaluate
from idgen.cli.generate import generate
from idgen.cli.people import align, compare, identify, sample
from idgen.cli.shell import PASSED_ON, flag, group, say
from idgen.cli.study import study
from idgen.cli.train import train
from idgen.ground.version import __version__

app = group(
    "From a face-recognition vector, or from nobody at all, to pictures of one person, each with an honest score."
)
for _command in (sample, identify, generate, align, evaluate, audit, calibrate, compare, share.provenance):
    app.command()(_command)
app.command(**PASSED_ON)(train)
app.command()(study)
app.command()(share.push)
app.command()(demo)
for _name, _group in (("convert", convert), ("dataset", dataset), ("export", share), ("model", models)):
    app.add_typer(_group.commands, name=_name)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: bool = flag("--version", "Print the version.")) -> None:
    if version:
        say(__version__)
    elif context.invoked_subcommand is None:
        say(context.get_help())

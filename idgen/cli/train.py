"""Networks, trained by their recipes."""

from __future__ import annotations

import json
from typing import Any

import typer

from idgen.cli.shell import argument, needing, say
from idgen.ground.errors import InputError


def train(context: typer.Context, network: str = argument("NETWORK", "What to train; without it, a list.", "")) -> None:
    """Train a network; `idgen train NETWORK --help` lists its options, --recipe FILE.yaml sets them."""
    from idgen.training import recipe

    if network in ("", "--help"):
        say(
            f"idgen train {'|'.join(recipe.TRAINERS)} [--recipe FILE.yaml] [OPTIONS]\n",
            "Options are those of the network: idgen train recognizer --help",
        )
        raise typer.Exit(0 if network else 2)
    with needing("train"):
        from idgen.ground.options import parse
    args_class, function = recipe.trainer(network)
    args: Any = parse(args_class, context.args, f"idgen train {network}", recipe.RECIPES / f"{network}.yaml")
    try:
        metrics = function(args)
    except FloatingPointError as error:
        raise InputError(str(error)) from error
    if isinstance(metrics, dict) and metrics:
        say(json.dumps(metrics))

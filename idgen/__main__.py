"""`python -m idgen`: the commands of `idgen.cli`."""

from idgen.cli import app

app()

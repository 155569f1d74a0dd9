"""`python -m idgen.cli`: the commands are in the files beside, put together in `idgen/cli/__init__.py`."""

from idgen.cli import app

app()

from idgen.cli import app

app()

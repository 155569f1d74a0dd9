"""The Hugging Face Space: `python app.py` is `idgen demo`; environment variables set what visitors may do (README)."""

from idgen.cli import app

if __name__ == "__main__":
    app(["demo"])

"""The Hugging Face Space: `python app.py` runs the app; environment variables set what visitors may do (README)."""

from space.app import build, launch, warm
from space.models import Models
from space.settings import Settings

settings = Settings.from_env()
models = Models(settings.models)
demo = build(models, settings)

if __name__ == "__main__":
    warm(models)
    launch(demo)

"""The Hugging Face Space: `python app.py` runs the app."""

from space.app import build, launch

demo = build()

if __name__ == "__main__":
    launch(demo)

"""What a visitor reads when something fails: the one place where an error becomes the sentence that the app answers."""

from __future__ import annotations

import logging
import traceback
from html import escape
from pathlib import Path

import gradio as gr

from idgen.ground.errors import InputError

log = logging.getLogger(__name__)

UNFIT = "The request does not fit this app{}: the page's API view says what each endpoint takes."
LATE = "Nobody came for this answer, so it is gone: ask again."
OURS = "Something went wrong here, and not because of you: try again, and tell whoever runs this app if it stays."


def told(error: Exception) -> gr.Error:
    """What Gradio shows, on the page and to programs: nothing is printed on the console.

    An `InputError` says its own sentence, and a `gr.Error` its own; anything else is a fault of ours, and logged.
    """
    if isinstance(error, gr.Error):
        error.print_exception = False
        return error
    if isinstance(error, InputError):
        return _shown(str(error))
    note(error)
    return _shown(OURS)


def unfit(error: Exception) -> gr.Error:
    """The same for a payload that no endpoint takes: Gradio's own words are repeated, other errors' are not."""
    return _shown(UNFIT.format(f" ({str(error.message)[:200]})" if isinstance(error, gr.Error) else ""))


def note(error: BaseException) -> None:
    """Log the type of an error and where it came from, never its message, which may hold what a visitor sent."""
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-4:]]
    log.error("%s at %s", type(error).__name__, " < ".join(reversed(places)))


def _shown(sentence: str) -> gr.Error:
    sentence = sentence.encode(errors="replace").decode()  # it may repeat what no answer can be written with
    return gr.Error(escape(sentence, quote=False), title="That did not work", print_exception=False)

"""The app."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from idgen.cli.shell import NAMED, flag, integer, option
from idgen.ground.errors import require_package


def demo(
    model: str = option(
        None,
        "Named model, folder, or Hub repository, before those of IDGEN_MODELS; by default these, or nobody-128.",
        **NAMED,
    ),
    host: str = option(None, "Address to listen on; by default this machine only."),
    port: int = integer(None, "By default the first free one from 7860."),
    browser: bool = flag("--open", "Open it in the browser."),
) -> None:
    """Run the app and print its address."""
    require_package("gradio", "app", "The app")
    room = "idgen.space" if find_spec("idgen.space") else "space"  # in a wheel; in a checkout
    import_module(f"{room}.app").main(model, host, port, browser)

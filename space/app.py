"""The app: the page and the endpoints for programs, built and served."""

from __future__ import annotations

import os

# Before Gradio is imported: no telemetry, no version check, no record of runs.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

from .gpu import ZERO  # before torch, which all others import

# isort: split
import importlib.util
import logging
import socket
import threading
from typing import Any
from urllib.request import getproxies

import gradio as gr

from idgen.ground import arguments
from idgen.ground.errors import InputError

from . import api
from .gradio_private import GuardedBlocks
from .guard import guards
from .limits import Limits
from .models import Models
from .page import Page
from .settings import Settings
from .theme import CSS, theme


def build(models: Models, settings: Settings) -> gr.Blocks:
    """The app. Networks are loaded when they are first needed. Launch it with `launch`."""
    limits = Limits(settings)
    with GuardedBlocks(title="idgen: one person, many pictures", delete_cache=(60, settings.keep_seconds)) as demo:
        page = Page(models, limits)
        api.add(models, limits)
        page.wire(demo)
    demo.queue(max_size=settings.queue_length, api_open=False)  # nobody passes the queue by
    demo.idgen_settings = settings
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """`demo.launch` with the look, the MCP tools, and without anything that records or calls out."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log addresses, with file names in them
    settings: Settings = demo.idgen_settings
    _past_the_proxy(options.get("server_name"))
    return demo.launch(
        theme=theme(),
        css_paths=CSS,
        footer_links=["api"],
        run_history=False,
        state_session_capacity=1000,  # visits that are remembered at a time
        max_file_size=f"{settings.upload_megabytes}mb",
        mcp_server=importlib.util.find_spec("mcp") is not None,
        app_kwargs=guards(settings),
        **options,
    )


def _past_the_proxy(host: str | None) -> None:
    """Gradio asks its own address whether it is up: not by way of a proxy, which would not find it."""
    proxies = getproxies()
    if proxies.keys() - {"no"}:
        known = [one.strip() for one in proxies.get("no", "").split(",")]
        ours = ["localhost", "127.0.0.1", "::1", host or ""]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(filter(None, [*known, *ours])))


def main(
    model: str | None = None, host: str | None = None, port: int | None = None, open_browser: bool = False
) -> None:
    """Run the app until it is stopped; Gradio prints the address.

    Args:
        model: a named model, a folder or a Hub id; it comes before those of `IDGEN_MODELS`. None: these alone.
        host: address to listen on; None is this machine only (or GRADIO_SERVER_NAME).
        port: None takes the first free one from 7860 (or GRADIO_SERVER_PORT).
        open_browser: open a tab.

    Raises:
        InputError: a variable says nothing usable, there is no such model, or nobody can listen there.
    """
    settings = Settings.from_env()
    if port is None and (said := os.environ.get("GRADIO_SERVER_PORT")):
        port = arguments.whole("port in GRADIO_SERVER_PORT", int(said) if said.isdecimal() else said, 1, 65535)
    elif port is not None:
        arguments.whole("port", port, 1, 65535)
    models = Models(list(dict.fromkeys([*([] if model is None else [model]), *settings.models])))
    try:  # Gradio itself ends in a traceback, or never
        socket.create_server((host or "127.0.0.1", port or 0)).close()
    except OSError as error:
        where = f"{host or '127.0.0.1'}{f', port {port}' if port else ''}"
        why = str(error.strerror).partition(" (")[0]
        raise InputError(f"The app cannot listen on {where} ({why}): choose another --host or --port.") from error
    warm(models)
    launch(build(models, settings), server_name=host, server_port=port, inbrowser=open_browser)


def warm(models: Models) -> None:
    """Load the first model: beside the page, which answers at once; on ZeroGPU before it, so that all share it."""
    first = models.get()

    def load() -> None:
        parts = ["pipeline", *filter(first.has, ("sampler", "encoder", "judge"))]
        for part in parts + ["scorer"] * ("judge" in parts):
            getattr(first, part)

    if ZERO:
        load()
    else:
        threading.Thread(target=load, daemon=True).start()

"""How what can be uploaded, a model, a pipeline, a face encoder, calls what uploads it and stands above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

uploader: Callable[..., Any] | None = None
"""What `push` calls; `import idgen` sets it."""


def push(what: Any, repo: str, **options: Any) -> Any:
    """Upload it to the Hugging Face Hub. See `idgen.push`."""
    assert uploader is not None  # `import idgen` comes before any of its modules
    return uploader(what, repo, **options)

"""What this app uses of Gradio without Gradio promising to keep it: all of it is here, and nowhere else in `space/`.

Each function and class says for which Gradio versions it was tried. `tests/space/test_gradio_private.py` asks Gradio
for every one of these things by name and shape, so that an upgrade that changes one fails there first, and says which.
"""

from __future__ import annotations

TRIED = ("6.31.0",)
"""Gradio versions with which everything here was tried, unless it says otherwise itself."""

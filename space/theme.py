"""The look: paper, ink and one green, system fonts only, so that no page asks another machine for anything."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Liberation Sans", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Liberation Mono", "monospace")
_SAME = {"block_border_width": "1px", "block_shadow": "none", "button_border_width": "1px", "input_border_width": "1px"}
_SAME |= dict.fromkeys(("block_label_text_weight", "block_title_text_weight", "button_large_text_weight"), "600")
_GREEN = "#0f766e", "#2dd4bf"
_COLOURS = {  # in light and in dark
    "body_background_fill": ("#faf9f7", "#141312"),
    "background_fill_primary": ("#ffffff", "#1c1b19"),
    "block_background_fill": ("#ffffff", "#1c1b19"),
    "block_border_color": ("#e7e4df", "#33302c"),
    "border_color_primary": ("#e7e4df", "#33302c"),
    "block_title_text_color": ("#44403c", "#d6d3d1"),
    "button_primary_background_fill": ("#1c1917", "#f5f5f4"),
    "button_primary_background_fill_hover": ("#3b3631", "#d6d3d1"),
    "button_primary_border_color": ("#1c1917", "#f5f5f4"),
    "button_primary_border_color_hover": ("#3b3631", "#d6d3d1"),
    "button_primary_text_color": ("#ffffff", "#1c1917"),
    "button_secondary_background_fill": ("#ffffff", "#26241f"),
    "button_secondary_background_fill_hover": ("#f5f4f1", "#33302c"),
    "button_secondary_border_color": ("#d6d3d1", "#44403c"),
    "slider_color": _GREEN,
    "checkbox_background_color_selected": ("#0f766e", "#0f766e"),
    "checkbox_border_color_selected": _GREEN,
    "input_background_fill": ("#ffffff", "#26241f"),
    "input_border_color_focus": _GREEN,
    "loader_color": _GREEN,
}


def theme() -> gr.Theme:
    """A restrained theme, light and dark."""
    light = {name: colours[0] for name, colours in _COLOURS.items()}
    dark = {f"{name}_dark": colours[1] for name, colours in _COLOURS.items()}
    hues = {"primary_hue": "emerald", "secondary_hue": "stone", "neutral_hue": "stone"}
    base = gr.themes.Base(**hues, radius_size="md", font=_SANS, font_mono=_MONO)
    return base.set(**_SAME, **light, **dark)

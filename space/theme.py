"""The look: paper, ink and one green, system fonts only, so that no page asks another machine for anything."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Liberation Sans", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Liberation Mono", "monospace")
_SAME = {"block_border_width": "1px", "block_shadow": "none", "button_border_width": "1px", "input_border_width": "1px"}
_SAME |= dict.fromkeys(("block_label_text_weight", "block_title_text_weight", "button_large_text_weight"), "600")
_COLOURS = {  # in light and in dark, and what has them
    ("#faf9f7", "#141312"): "body_background_fill",
    ("#ffffff", "#1c1b19"): "background_fill_primary block_background_fill",
    ("#e7e4df", "#33302c"): "block_border_color border_color_primary",
    ("#44403c", "#d6d3d1"): "block_title_text_color",
    ("#1c1917", "#f5f5f4"): "button_primary_background_fill button_primary_border_color",
    ("#3b3631", "#d6d3d1"): "button_primary_background_fill_hover button_primary_border_color_hover",
    ("#ffffff", "#1c1917"): "button_primary_text_color",
    ("#ffffff", "#26241f"): "button_secondary_background_fill input_background_fill",
    ("#f5f4f1", "#33302c"): "button_secondary_background_fill_hover",
    ("#d6d3d1", "#44403c"): "button_secondary_border_color",
    ("#0f766e", "#0f766e"): "checkbox_background_color_selected",
    ("#0f766e", "#2dd4bf"): "slider_color input_border_color_focus checkbox_border_color_selected loader_color",
}


def theme() -> gr.Theme:
    """A restrained theme, light and dark."""
    light = {name: colour for (colour, _), names in _COLOURS.items() for name in names.split()}
    dark = {f"{name}_dark": colour for (_, colour), names in _COLOURS.items() for name in names.split()}
    hues = {"primary_hue": "emerald", "secondary_hue": "stone", "neutral_hue": "stone"}
    base = gr.themes.Base(**hues, radius_size="md", font=_SANS, font_mono=_MONO)
    return base.set(**_SAME, **light, **dark)

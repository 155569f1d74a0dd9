"""The look: paper, ink and one green, system fonts only, so that no page asks another machine for anything."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Liberation Sans", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Liberation Mono", "monospace")


def theme() -> gr.Theme:
    """A restrained theme, light and dark."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.emerald,
        secondary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#141312",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1c1b19",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1c1b19",
        block_border_width="1px",
        block_border_color="#e7e4df",
        block_border_color_dark="#33302c",
        border_color_primary="#e7e4df",
        border_color_primary_dark="#33302c",
        block_shadow="none",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_title_text_color="#44403c",
        block_title_text_color_dark="#d6d3d1",
        button_primary_background_fill="#1c1917",
        button_primary_background_fill_hover="#3b3631",
        button_primary_background_fill_dark="#f5f5f4",
        button_primary_background_fill_hover_dark="#d6d3d1",
        button_primary_border_color="#1c1917",
        button_primary_border_color_hover="#3b3631",
        button_primary_border_color_dark="#f5f5f4",
        button_primary_border_color_hover_dark="#d6d3d1",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#1c1917",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#f5f4f1",
        button_secondary_background_fill_dark="#26241f",
        button_secondary_background_fill_hover_dark="#33302c",
        button_secondary_border_color="#d6d3d1",
        button_secondary_border_color_dark="#44403c",
        button_border_width="1px",
        button_large_text_weight="600",
        slider_color="#0f766e",
        slider_color_dark="#2dd4bf",
        checkbox_background_color_selected="#0f766e",
        checkbox_background_color_selected_dark="#0f766e",
        checkbox_border_color_selected="#0f766e",
        checkbox_border_color_selected_dark="#2dd4bf",
        input_background_fill="#ffffff",
        input_background_fill_dark="#26241f",
        input_border_width="1px",
        input_border_color_focus="#0f766e",
        input_border_color_focus_dark="#2dd4bf",
        loader_color="#0f766e",
        loader_color_dark="#2dd4bf",
    )

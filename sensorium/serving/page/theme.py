"""The page's colours: those of the report, without any font from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace")


def theme() -> Base:
    """A plain theme, light and dark."""
    import gradio as gr
    from gradio.themes.utils import colors, sizes
    from gradio.themes.utils.fonts import Font

    plain = gr.themes.Base(
        primary_hue=colors.sky, neutral_hue=colors.stone, radius_size=sizes.radius_sm, text_size=sizes.text_md,
        spacing_size=sizes.spacing_md, font=[Font(name) for name in FONT], font_mono=[Font(name) for name in MONO])
    return plain.set(
        body_background_fill="#faf9f6", body_background_fill_dark="#14171b", body_text_color="#1d2228",
        body_text_color_dark="#e7e9ec", body_text_color_subdued="#5a636d", body_text_color_subdued_dark="#a5aeb8",
        background_fill_primary="#ffffff", background_fill_primary_dark="#1c2026",
        background_fill_secondary="#faf9f6", background_fill_secondary_dark="#14171b",
        border_color_primary="#d9d6ce", border_color_primary_dark="#3a414a", block_background_fill="#ffffff",
        block_background_fill_dark="#1c2026", block_border_width="1px", block_shadow="none",
        block_label_background_fill="#ffffff", block_label_background_fill_dark="#1c2026",
        block_label_text_color="#5a636d", block_label_text_color_dark="#a5aeb8", block_title_text_color="#5a636d",
        block_title_text_color_dark="#a5aeb8", input_background_fill="#ffffff", input_background_fill_dark="#14171b",
        input_border_color="#d9d6ce", input_border_color_dark="#3a414a", button_primary_background_fill="#0b5f8a",
        button_primary_background_fill_hover="#084a6c", button_primary_background_fill_dark="#0b5f8a",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#ffffff", button_secondary_background_fill_dark="#1c2026",
        button_secondary_border_color="#d9d6ce", button_secondary_border_color_dark="#3a414a",
        button_secondary_background_fill_hover="#f0eee8", button_secondary_background_fill_hover_dark="#252a31",
        button_border_width="1px", color_accent="#0b5f8a", border_color_accent="#0b5f8a", loader_color="#0b5f8a",
        slider_color="#0b5f8a", loader_color_dark="#6cbde8", slider_color_dark="#6cbde8")

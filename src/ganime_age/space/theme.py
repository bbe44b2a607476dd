"""The page's look: quiet paper and ink, one accent, the reader's own system fonts, light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("theme.css")

INK = gr.themes.Color(
    name="ink", c50="#f8f8f6", c100="#f0f0ec", c200="#e2e2dc", c300="#cbcbc3", c400="#9b9b92", c500="#71716a",
    c600="#55554f", c700="#3d3d39", c800="#272725", c900="#1a1a19", c950="#111110",
)  # fmt: skip
PINE = gr.themes.Color(
    name="pine", c50="#eff7f4", c100="#d7ebe4", c200="#b1d8cb", c300="#80bfac", c400="#4fa18b", c500="#2f8570",
    c600="#216a5a", c700="#1c5549", c800="#19453c", c900="#163932", c950="#0a201c",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """The theme, for `launch`."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    look = gr.themes.Base(
        primary_hue=PINE, secondary_hue=PINE, neutral_hue=INK, radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md, text_size=gr.themes.sizes.text_md, font=sans,
        font_mono=("ui-monospace", "Menlo", "monospace"),
    )  # fmt: skip
    return look.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_shadow="none",
        border_color_primary="*neutral_300",
        border_color_primary_dark="*neutral_700",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_400",
        button_primary_background_fill_hover_dark="*primary_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )

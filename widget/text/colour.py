"""Adjusts a team's colour to be readable in light and dark mode."""

import colorsys
import re

# The most demanding backgrounds of links and marks: see box.css.
LIGHT = (0xF5, 0xF6, 0xF8)
DARK = (0x1F, 0x23, 0x2A)
ENOUGH = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum

Rgb = tuple[int, int, int]


def accent(colour: str) -> str:
    """`light-dark(...)` for CSS: the colour, darkened and lightened until it is readable.

    Empty if it is not #rgb or #rrggbb; the # is optional, as URLs cannot contain it.
    """
    digits = colour.strip().removeprefix("#")
    if not re.fullmatch(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}", digits):
        return ""
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    on_light, on_dark = (_hex(_readable((red, green, blue), ground)) for ground in (LIGHT, DARK))
    return f"light-dark({on_light}, {on_dark})"


def contrast(first: Rgb, second: Rgb) -> float:
    """The WCAG contrast ratio, from 1 to 21."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _readable(colour: Rgb, ground: Rgb) -> Rgb:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    step = 0.01 if _luminance(ground) < 0.5 else -0.01
    while contrast(colour, ground) < ENOUGH:
        lightness = min(1.0, max(0.0, lightness + step))
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
        colour = (round(red * 255), round(green * 255), round(blue * 255))
    return colour


def _luminance(colour: Rgb) -> float:
    """Relative luminance: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Rgb) -> str:
    return "#" + bytes(colour).hex()

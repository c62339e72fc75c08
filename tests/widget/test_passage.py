from urllib.parse import unquote

import pytest

from widget.text.passage import MAX_ADDRESS, highlighting

PAGE = "https://wiki.example.com/start/#linux"


def fragment(quote: str, page: str = PAGE) -> str:
    """The text fragment that a browser looks for."""
    address = highlighting(page, quote)
    assert address.startswith((f"{page}:~:text=", f"{page}#:~:text="))
    return unquote(address.partition(":~:text=")[2])


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("## Linux\n\nRun `make run` in the *folder*.", "Run make run in the folder."),
        ("One two three.\n\nFour five six.", "One two three.,Four five six."),
        ("- first [item](x.md)\n- last item", "first item,last item"),
        (f"{'word ' * 30}end.", "word word word word word word,word word word word word end."),
        ("Kept.\n\n```sh\nls\n```\n\n| a |\n|---|\n| b |", "Kept."),
        ('!!! note "Mind"\n\n    The gap.', "Mind,The gap."),
        (
            "これは長い文です。次の文はここにあります。最後。",
            "これは長い文です。次の文はここにあります。最後。",
        ),
        ("Cut in the mid\n\n…", "Cut in the"),
    ],
)
def test_the_passage_is_found_by_its_first_and_last_words(quote: str, text: str) -> None:
    assert fragment(quote) == text
    assert fragment(quote, "https://wiki.example.com/start/") == text


def test_signs_of_the_directive_are_encoded() -> None:
    address = highlighting(PAGE, "Well-known, a & b = c")
    assert address.endswith(":~:text=Well%2Dknown%2C%20a%20%26%20b%20%3D%20c")


@pytest.mark.parametrize("quote", ["", "# Only a heading", "```\ncode\n```", "…", "x" * 3000])
def test_without_prose_that_fits_the_address_stays(quote: str) -> None:
    assert highlighting(PAGE, quote) == PAGE
    assert len(highlighting(PAGE, "words " * 5000)) < MAX_ADDRESS

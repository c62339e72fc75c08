"""Heading slugs: the anchors that each generator derives from the text."""

import re
import unicodedata

# Symbols that Unicode classes as alphabetic, but Python does not: circled and boxed letters.
_LETTERLIKE = ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189))


class GitHubSlugger:
    """The anchors of one file, as created by the npm package github-slugger 1.5.0.

    It keeps Unicode 13's alphabetic characters, marks, decimal digits, connectors, `-` and spaces.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def slug(self, text: str) -> str:
        """The anchor of the next heading."""
        first = "".join(c for c in text.lower() if _is_kept(c)).replace(" ", "-")
        slug = first
        while slug in self._seen:
            self._seen[first] += 1
            slug = f"{first}-{self._seen[first]}"
        self._seen[slug] = 0
        return slug


def _is_kept(character: str) -> bool:
    if character in "- ":
        return True
    category = unicodedata.category(character)
    if category[0] in "LM" or category in ("Nd", "Nl", "Pc"):
        return True
    return any(first <= ord(character) <= last for first, last in _LETTERLIKE)


class GitLabSlugger:
    """The anchors of one page, as GitLab creates them (`string_to_anchor` of its
    `Utils::Markdown`): merges hyphens, and a number alone becomes `anchor-5`."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def slug(self, text: str) -> str:
        """The anchor of the next heading."""
        bare = "".join(c for c in text.strip().lower() if _is_kept(c))
        slug = re.sub(r"-+", "-", bare.replace(" ", "-"))
        slug = f"anchor-{slug}" if slug.isdecimal() else slug
        count = self._seen.get(slug, 0)
        self._seen[slug] = count + 1
        return f"{slug}-{count}" if count else slug


class GitBookSlugger:
    """The anchors of one page, as seen in synced GitBooks: `#id-1.-what-and-why`.

    Letters lose their accents, `&` becomes "and", dots stay, and a digit cannot come first.
    Non-Latin scripts are dropped; headings of which nothing is left become `undefined`.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def slug(self, text: str) -> str:
        """The anchor of the next heading."""
        spelt = text.translate(_SPELT)
        bare = "".join(
            c for c in unicodedata.normalize("NFKD", spelt) if not unicodedata.combining(c)
        )
        slug = re.sub(r"[^\w\s.~-]", "", bare.lower(), flags=re.ASCII)
        slug = re.sub(r"[-\s]+", "-", slug.strip()).strip("-")
        slug = slug or "undefined"
        if slug[:1].isdigit():
            slug = f"id-{slug}"
        count = self._seen.get(slug, 0)
        self._seen[slug] = count + 1
        return f"{slug}-{count}" if count else slug


class VitePressSlugger:
    """The anchors of one page, as VitePress 1.6 creates them with @mdit-vue/shared and
    markdown-it-anchor."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._counts: dict[str, int] = {}

    def slug(self, text: str, own: str = "") -> str:
        """The anchor of the next heading; `own` is its explicit anchor."""
        first = slug = own or _vitepress(text)
        count = self._counts.get(first, 0)  # earlier numbers are taken
        while slug in self._seen and not own:
            count += 1
            slug = f"{first}-{count}"
        self._counts[first] = count
        self._seen.add(slug)
        return slug


def _vitepress(text: str) -> str:
    bare = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text))
    dashed = _VITEPRESS_SIGNS.sub("-", re.sub("[\x00-\x1f]", "", bare)).strip("-")
    return (f"_{dashed}" if re.match("[0-9]", dashed) else dashed).lower()


_VITEPRESS_SIGNS = re.compile(r"""[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:"'“”‘’<>,.?/]+""")
_SPELT = str.maketrans({"&": " and ", "ß": "ss", "đ": "d", "Đ": "D", "ø": "o", "Ø": "O", "æ": "ae"})

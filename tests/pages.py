"""What the pages say: README.md, those of docs/ in the order in which it names them, and the built-in model's card."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = [ROOT / name for name in dict.fromkeys(re.findall(r"docs/[\w-]+\.md", README.read_text(encoding="utf-8")))]
PAGES = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "idgen/builtin/nobody-128/README.md"]


def page(name: str) -> str:
    """The text of a page by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code of a language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(text: str, language: str) -> list[str]:
    """The commands of a language, without comments; a line that ends in a backslash goes on."""
    joined = "".join(blocks(text, language)).replace("\\\n", " ")
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()) if line]

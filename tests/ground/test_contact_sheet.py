"""The sheet shows every picture, its verdict, and how much it leaves out."""

from pathlib import Path

import numpy as np
from PIL import Image

from idgen.ground.contact_sheet import MATCH, NO_MATCH, UNSCORED, Cell, contact_sheet


def colours(sheet: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.unique(np.asarray(sheet).reshape(-1, 3), axis=0).tolist()}


def plain(colour: tuple[int, int, int] = (1, 2, 3)) -> Image.Image:
    return Image.new("RGB", (32, 32), colour)


def test_frames_say_the_verdict() -> None:
    sheet = contact_sheet([("a", [Cell(plain(), 0.6, True)])], size=32)
    assert MATCH in colours(sheet) and NO_MATCH not in colours(sheet)
    sheet = contact_sheet([("a", [Cell(plain(), 0.1, False), Cell(plain())])], size=32)
    assert {NO_MATCH, UNSCORED} <= colours(sheet) and MATCH not in colours(sheet)


def test_every_picture_is_there_whole(tmp_path: Path) -> None:
    plain((9, 9, 200)).save(tmp_path / "file.png")
    pictures = [plain((200, 9, 9)), plain((9, 200, 9)), tmp_path / "file.png"]
    sheet = contact_sheet([("a", [Cell(pictures[0])]), ("b", [Cell(pictures[1]), Cell(pictures[2])])], "title", size=32)
    pixels = np.asarray(sheet)
    for colour in ((200, 9, 9), (9, 200, 9), (9, 9, 200)):
        assert (pixels == colour).all(2).sum() == 32 * 32


def test_it_says_what_it_leaves_out() -> None:
    rows = [(f"p{i}", [Cell(plain())] * 3) for i in range(3)]
    full = contact_sheet(rows, size=32)
    cut = contact_sheet(rows, size=32, max_rows=2, max_columns=2)
    assert cut.width < full.width
    band = np.asarray(cut)[10:28]
    assert (band != 255).any(), "the line that says how much is missing"
    assert (np.asarray(full)[0:12] == 255).all()


def test_long_names_and_uneven_rows() -> None:
    sheet = contact_sheet([("x" * 300, [Cell(plain(), 0.5, True)]), ("y", [])], "title " * 100, size=32)
    assert sheet.width < 100

"""What a terminal shows of what takes long."""

from __future__ import annotations

import io
import sys
import time

import pytest

from idgen.ground import waiting


class Screen(io.StringIO):
    terminal = True

    def isatty(self) -> bool:
        return self.terminal


def test_a_terminal_shows_how_long_it_has_been_and_a_file_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST", 0.02)
    monkeypatch.setattr(waiting, "EVERY", 0.02)
    for terminal in (True, False):
        screen = Screen()
        screen.terminal = terminal
        monkeypatch.setattr(sys, "stderr", screen)
        with pytest.raises(KeyError), waiting.working("converting"):
            time.sleep(0.2)
            raise KeyError
        assert ("converting … 00:00" in screen.getvalue()) is terminal
        assert not screen.getvalue().rpartition("\r")[2].strip()  # and the line is free again
    before = screen.getvalue()
    with waiting.working("in no time"):
        pass
    assert screen.getvalue() == before

"""What the operator sets."""

from __future__ import annotations

import inspect
import re
import runpy
from dataclasses import fields, replace
from pathlib import Path

import pytest

from idgen.ground.errors import InputError
from space.settings import Settings

DOCUMENTED = re.findall(r"(\w+): `(IDGEN_\w+)`", Settings.__doc__ or "")
WHOLE = {  # variable: lowest, highest
    "IDGEN_IMAGES_PER_REQUEST": (2, 64),
    "IDGEN_PHOTOS_PER_REQUEST": (1, 64),
    "IDGEN_REQUESTS_PER_MINUTE": (0, 100_000),
    "IDGEN_REQUESTS_PER_MINUTE_IN_ALL": (0, 100_000),
    "IDGEN_MEGABYTES_PER_TEN_MINUTES": (0, 1_000_000),
    "IDGEN_MEGABYTES_PER_TEN_MINUTES_IN_ALL": (0, 1_000_000),
    "IDGEN_QUEUE_LENGTH": (1, 10_000),
    "IDGEN_UPLOAD_MEGABYTES": (1, 1_000),
    "IDGEN_UPLOAD_MEGAPIXELS": (1, 50),
    "IDGEN_KEEP_SECONDS": (60, 86_400),
    "IDGEN_PROXIES": (0, 10),
}


def test_nothing_set_is_the_default() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({variable: " " for _, variable in DOCUMENTED}) == Settings()
    assert not Settings().public and Settings().vector_uploads


def test_strangers_may_do_less() -> None:
    public = Settings.from_env({"IDGEN_PUBLIC": "1"})
    assert public.public and not public.vector_uploads and public.proxies == 0
    assert 0 < public.requests_per_minute <= public.requests_per_minute_in_all
    assert 0 < public.megabytes_per_ten_minutes <= public.megabytes_per_ten_minutes_in_all
    assert Settings.from_env({"SPACE_ID": "user/space"}) == replace(public, proxies=1)
    assert Settings.from_env({"SPACE_ID": "user/space", "IDGEN_PUBLIC": "no"}) == Settings(proxies=1)
    assert Settings.from_env({"IDGEN_PUBLIC": "1", "IDGEN_VECTOR_UPLOADS": "1"}).vector_uploads


def test_every_setting_is_documented_and_read() -> None:
    assert [name for name, _ in DOCUMENTED] == [one.name for one in fields(Settings)]
    for name, variable in DOCUMENTED:
        assert variable == f"IDGEN_{name.upper()}"
        for value in WHOLE.get(variable, ()):
            assert getattr(Settings.from_env({variable: f" {value} "}), name) == value
    assert Settings.from_env({"IDGEN_MODELS": " nobody-128 , user/repo"}).models == ("nobody-128", "user/repo")
    assert Settings.from_env({"IDGEN_VECTOR_UPLOADS": "Off"}).vector_uploads is False
    assert Settings.from_env({"IDGEN_UPLOAD_MEGAPIXELS": "2"}).upload_pixels == 2 << 20


@pytest.mark.parametrize("variable", WHOLE)
def test_nonsense_is_named(variable: str) -> None:
    low, high = WHOLE[variable]
    for text in ("-1", "1.5", "1e3", "many", "١٢", "1_0", "9" * 30, str(high + 1), str(low - 1)):
        with pytest.raises(InputError, match=rf"^{variable} is .* from {low:,} to {high:,}, or not at all\.$"):
            Settings.from_env({variable: text})


def test_other_nonsense_is_named() -> None:
    for name in ("IDGEN_PUBLIC", "IDGEN_VECTOR_UPLOADS"):
        with pytest.raises(InputError, match=f"^{name} is 'maybe': set it to 1 or 0"):
            Settings.from_env({name: "maybe"})
    for models in (",", "a,,b", "a,a"):
        with pytest.raises(InputError, match=r"^IDGEN_MODELS is"):
            Settings.from_env({"IDGEN_MODELS": models})


def test_a_variable_that_says_nothing_stops_the_app_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.setenv("IDGEN_PROXIES", "many")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(Path(__file__).parents[2] / "app.py"), run_name="__main__")
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said == "IDGEN_PROXIES is 'many': set it to a whole number from 0 to 10, or not at all."


def test_a_model_that_was_named_comes_first_even_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from idgen.cli import demo
    from space import app

    allowed: list[list[str]] = []
    monkeypatch.setenv("IDGEN_MODELS", "some/other,nobody-128")
    monkeypatch.setattr(app, "warm", lambda models: allowed.append(models.names))
    monkeypatch.setattr(app, "launch", lambda demo, **options: None)
    monkeypatch.setattr(app, "build", lambda models, settings: None)
    app.main("nobody-128")
    app.main()
    assert allowed == [["nobody-128", "some/other"], ["some/other", "nobody-128"]]
    assert inspect.signature(demo).parameters["model"].default.default is None, "named and not named are two things"

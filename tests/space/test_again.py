"""What the page shows to make the same again makes the same, to the pixel."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from painted import last, unit_vectors
from PIL import Image

import idgen
from idgen.ground.identity import Identity
from idgen.model import Model
from space import actions, again
from space.actions import Recipe
from space.models import vocabulary
from space.tabs.how import asked_in


@pytest.fixture
def run(small: Model, told: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs what the page shows, in an empty folder; gives its pictures' bytes.

    The name of a model in a test's folder is no name that `load_model` knows.
    """
    load, folders = idgen.load_model, {model.name: str(model.folder) for model in (small, told)}
    monkeypatch.setattr(idgen, "load_model", lambda name: load(folders.get(name, name)))
    monkeypatch.chdir(tmp_path)

    def run(code: str) -> list[bytes]:
        names: dict = {}
        exec(compile(code, "again.py", "exec"), names)
        return [image.tobytes() for image in names["pictures"]]

    return run


def pixels(images: Any) -> list[bytes]:
    return [one.image.tobytes() for one in images]


@pytest.mark.parametrize("variation", [0.0, 0.3])
def test_the_code_for_one_person(small: Model, person: Identity, variation: float, run: Any) -> None:
    recipe = Recipe.of(small, 3, 2, variation, 1.5, 9)
    made = last(actions.generate(small, person, recipe))
    assert run(again.pictures(person, recipe, small.name).python) == pixels(made.images)


def test_the_code_for_a_strip_and_the_nearest(small: Model, person: Identity, run: Any) -> None:
    other, recipe = actions.sample(small, 8)[0], Recipe.of(small, 1, 2, seed=4)
    made = last(actions.morph(small, person, other, recipe))
    assert run(again.strip((person, other), recipe, small.name).python) == pixels(made.images)
    found, once = last(actions.nearest(small, person, recipe)), again.nearest(person, recipe, small.name)
    assert run(once.python) == pixels(one.image for one in found)
    assert "tab=near" in once.query and "person=7" in once.query


def test_the_code_for_a_photo_reads_the_downloaded_vector(small: Model, run: Any) -> None:
    photo = Identity(unit_vectors(1, 64)[0], small.encoder.space, "1 photo", "photo")
    recipe = Recipe.of(small, 1, 2)
    once = again.pictures(photo, recipe, small.name)
    assert once.query == "", "a link would have to hold the face"
    Path("photo.safetensors").write_bytes(actions.identity_file([photo]))
    assert run(once.python) == pixels(last(actions.generate(small, photo, recipe)).images)


def test_the_commands(small: Model, person: Identity, run: Any) -> None:
    from typer.testing import CliRunner

    from idgen.cli import app

    recipe = Recipe.of(small, 2, 2, 0.3, 1.5, 9)
    for command in again.pictures(person, recipe, str(small.folder)).commands.splitlines():
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
    made = [Image.open(path).tobytes() for path in sorted(Path("pictures", person.name).glob("*.png"))]
    assert made == pixels(last(actions.generate(small, person, recipe)).images)


def test_how_pictures_look_is_in_the_code_the_commands_and_the_link(told: Model, run: Any) -> None:
    from typer.testing import CliRunner

    from idgen.cli import app

    who = actions.sample(told, 7)[0]
    recipe = Recipe.of(told, 2, 2, seed=9, attributes={"yaw": 20.0, "expression": "laugh", "hat": "yes"})
    once = again.pictures(who, recipe, told.name)
    made = pixels(last(actions.generate(told, who, recipe)).images)
    assert run(once.python) == made
    assert parse_qs(once.query[1:])["guidance"] == ["1.4"] and "--guidance 1.4/2.4 " in once.commands
    assert parse_qs(once.query[1:])["with"] == ["yaw:20.0;expression:laugh;hat:yes"]
    assert asked_in(parse_qs(once.query[1:])["with"][0], vocabulary(told)) == dict(recipe.attributes)
    for command in again.pictures(who, recipe, str(told.folder)).commands.splitlines():
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
    assert [Image.open(path).tobytes() for path in sorted(Path("pictures", who.name).glob("*.png"))] == made

    single = Recipe.of(told, 1, 2, seed=9, attributes={"hat": "yes"})
    for name in actions.STRIPS:
        strip = last(actions.strip(told, who, single, name))
        once = again.turned(who, single, told.name, name)
        assert run(once.python) == pixels(strip.images)
        assert f"tab=turn-{name}" in once.query


def test_a_link_that_asks_for_nonsense_asks_for_nothing(told: Model, small: Model) -> None:
    known = vocabulary(told)
    assert asked_in("yaw:900;smle:1;yaw;:;hat:perhaps;smile:0.5;skin_tone:1", known) == {"smile": 0.5}
    assert asked_in("yaw:10", vocabulary(small)) == {}


def test_a_model_that_only_this_app_has_is_not_said_to_be_found_by_its_name(small: Model, person: Identity) -> None:
    recipe = Recipe.of(small, 1, 1)
    ours = again.pictures(person, recipe, small.name)
    assert "give the path of its folder" in ours.python and ours.commands.startswith(f"# {small.name} is a model of")
    for name in ("nobody-128", "user/repo", str(small.folder)):
        once = again.pictures(person, recipe, name)
        assert "#" not in once.commands and "folder" not in once.python

"""What was imported by the paths of before 0.2 still is, and says where it is now."""

import importlib

import pytest

import idgen


@pytest.mark.parametrize("old", sorted(idgen._MOVED))
def test_old_paths_lead_to_the_new_modules(old: str) -> None:
    home = importlib.import_module(idgen._MOVED[old])
    with pytest.warns(DeprecationWarning, match=home.__name__):
        module = importlib.reload(importlib.import_module(f"idgen.{old}"))
    public = [name for name in vars(home) if not name.startswith("_")]
    assert public and all(getattr(module, name) is getattr(home, name) for name in public)


def test_what_the_pages_of_before_showed() -> None:
    from idgen.hub import load_model
    from idgen.identity import Identities

    assert (load_model, Identities) == (idgen.load_model, idgen.Identities)

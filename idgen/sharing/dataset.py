"""Put a dataset on the Hugging Face Hub with its card, so that `datasets.load_dataset` opens it by its name."""

from __future__ import annotations

from pathlib import Path

from idgen.dataset.plan import CARD, DATA, PEOPLE, PLAN, REPORT, SHEET, Planned
from idgen.dataset.status import status
from idgen.ground.errors import InputError
from idgen.ground.files import walk
from idgen.sharing.push import Pushed
from idgen.sharing.repository import Files, Repository

_ANYWHERE = "THIS_REPOSITORY_OR_FOLDER"


def push_dataset(
    folder: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    message: str | None = None,
    token: str | bool | None = None,
) -> Pushed:
    """Upload a finished dataset: its Parquet files, card, contact sheet, report and plan, in one commit.

    The people's vectors go with it where nobody's come from a photo; else they stay here.

    Args:
        folder: of the dataset, which `idgen dataset report` has written a card for.
        repo: "user/name"; made if it does not exist.
        private: make it private; by default as the Hub does. Only when it is made.
        revision: branch to commit to; made if it does not exist.
        message: of the commit.
        token: of the Hub; by default that of `hf auth login` or HF_TOKEN.

    Raises:
        InputError: the dataset is not finished or has no card, the name cannot be a repository's, nobody is logged in,
            or the Hub refuses or cannot be reached.
    """
    target, planned = Repository(repo, revision, token, "dataset"), Planned.load(folder)
    folder = planned.folder
    if missing := status(planned).missing:
        how = f"`idgen dataset run {folder}` makes them"
        raise InputError(f"{len(missing):,} of {planned.plan.shards:,} shards of {folder} are not made yet: {how}.")
    if not (folder / CARD).is_file():
        raise InputError(f"{folder} has no card: `idgen dataset report {folder}` measures it and writes one.")
    files: Files = {CARD: (folder / CARD).read_text("utf-8").replace(_ANYWHERE, repo).encode()}
    left_out, photos = [], any(person.from_photo for person in planned.people)
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        shared = name in (SHEET, PLAN) or (name == PEOPLE and not photos)
        if shared or name.startswith(f"{REPORT}/") or (name.startswith(f"{DATA}/") and path.suffix == ".parquet"):
            files[name] = path
        elif name != CARD:
            left_out.append(name)
    target.make(private)
    done = target.commit(files, message or "Upload a dataset by idgen")
    return Pushed(repo, done.oid, done.commit_url, tuple(sorted(files)), tuple(left_out), kind="dataset")

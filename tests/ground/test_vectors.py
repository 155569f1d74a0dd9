import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities
from idgen.ground.vectors import check_same_space, load_vectors, save_vectors

VECTORS = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
LABELS = ["b", "a", "b", "c", "a", "c"]


def test_what_is_written_is_read(tmp_path):
    found = load_vectors(save_vectors(tmp_path / "deep" / "v.safetensors", VECTORS, LABELS, "space"))
    torch.testing.assert_close(found.vectors, VECTORS)
    assert found.labels.tolist() == LABELS and found.space == "space" and found.labelled
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["v.safetensors"]


def test_other_files(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=3 * VECTORS.numpy(), labels=np.array([1, 1, 2, 2, 3, 3]), space="s")
    found = load_vectors(tmp_path / "a.npz")
    torch.testing.assert_close(found.vectors, VECTORS)
    assert found.labels.tolist() == list("112233") and found.space == "s"
    np.save(tmp_path / "b.npy", VECTORS.numpy())
    plain = load_vectors(tmp_path / "b.npy")
    assert not plain.labelled and len(set(plain.labels)) == 6 and plain.space is None
    Identities(VECTORS, "space", [SAMPLED] * 6, list("uvwxyz")).save(tmp_path / "c.safetensors")
    people = load_vectors(tmp_path / "c.safetensors")
    assert people.labels.tolist() == list("uvwxyz") and people.space == "space"


def test_refuses(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object), allow_pickle=True)  # is not unpickled
    broken = VECTORS.clone()
    broken[2, 1] = torch.nan
    whole = save_vectors(tmp_path / "nan.safetensors", broken, LABELS).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"weights": VECTORS}, tmp_path / "w.safetensors")
    save_file({"vectors": VECTORS, "labels": torch.arange(3)}, tmp_path / "few.safetensors")
    save_file({"vectors": VECTORS}, tmp_path / "names.safetensors", {"names": "["})
    for name, says in (
        ("none.npz", "There is no file .*none.npz"),
        ("x.bin", "no file of vectors"),
        ("evil.npy", "cannot be read"),
        ("cut.safetensors", "cut short"),
        ("nan.safetensors", r"1 broken vectors.*number 2"),
        ("w.safetensors", "holds weights"),
        ("few.safetensors", r"6 vectors, but labels of shape \(3,\)"),
        ("names.safetensors", "damaged names"),
    ):
        with pytest.raises(InputError, match=says):
            load_vectors(tmp_path / name)
    with pytest.raises(InputError, match="'a', the other in 'b'"):
        check_same_space("a", "b")


def test_arrays_of_other_programs(tmp_path):
    np.save(tmp_path / "big.npy", VECTORS.numpy().astype(">f4"))
    assert torch.equal(load_vectors(tmp_path / "big.npy").vectors, load_vectors_of(tmp_path, VECTORS))
    names = np.array([f"p{row}" for row in range(6)])
    for kind in (names, names.astype("S"), names.astype(">U4")):
        np.savez(tmp_path / "named.npz", vectors=VECTORS.numpy().astype(">f8"), names=kind)
        assert load_vectors(tmp_path / "named.npz").labels.tolist() == names.tolist()
    np.savez(tmp_path / "objects.npz", vectors=VECTORS.numpy(), names=names.astype(object))
    with pytest.raises(InputError, match=r"objects.npz .*'names' holds Python objects, .*: save it as texts"):
        load_vectors(tmp_path / "objects.npz")


def load_vectors_of(folder, vectors):
    np.save(folder / "native.npy", vectors.numpy())
    return load_vectors(folder / "native.npy").vectors

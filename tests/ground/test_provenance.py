"""Generated pictures say that they are."""

import datetime
import io
import json
import socket
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from idgen.cli import app
from idgen.ground import provenance
from idgen.ground.errors import InputError
from idgen.ground.identity import Identity
from idgen.ground.provenance import encode, read, report, save_image, sentence
from idgen.ground.signing import SOURCE_TYPE, Credentials, sign, signature

INFO = {"model": "nobody-128", "identity": "person-7-0002", "seed": 7, "k": 3}


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


@pytest.mark.parametrize("name", ["00.png", "00.jpg", "00.JPEG", "00.webp"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    info = INFO | {"note": 'a <b> & "c" ü'}
    path = save_image(picture(), tmp_path / "new" / name, info)
    said = read(path)
    assert said["digital_source_type"] == SOURCE_TYPE
    assert info.items() <= said.items()
    assert said["generator"].startswith("idgen ")
    assert name != "00.png" or np.array_equal(np.asarray(Image.open(path)), np.asarray(picture()))
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_equal_pictures_are_equal_bytes_and_nothing_of_a_photo_slips_through() -> None:
    photo = picture()
    photo.info.update({"comment": b"at home", "icc_profile": b"profile", "Author": "somebody"})
    photo.getexif()[0x010F] = "camera"
    for kind in provenance.MIME:
        assert encode(picture(), INFO, kind) == encode(photo, INFO, kind)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    for place in (tmp_path / "folder.png", tmp_path / "file" / "00.png"):
        with pytest.raises(InputError, match="Cannot write"):
            save_image(picture(), place, INFO)
    with pytest.raises(InputError, match=r"let it end in \.png"):
        save_image(picture(), tmp_path / "00.gif", INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_person_in_a_photo_is_not_named() -> None:
    vector = np.eye(4, dtype=np.float32)[0]
    sampled = Identity(vector, "space", "sampled, seed 7, number 0", "person-7-0000")
    assert provenance.made_by("m", sampled, 3, 1) == {"model": "m", "identity": "person-7-0000", "seed": 3, "k": 1}
    anna = Identity(vector, "space", "1 photo", "Anna at the beach")
    assert provenance.made_by("m", anna, 3, 1) == {"model": "m", "seed": 3, "k": 1}


def with_packet(packet: bytes | str) -> bytes:
    chunks, file = PngInfo(), io.BytesIO()
    chunks.add_itxt("XML:com.adobe.xmp", packet)
    picture().save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:I="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:i="urn:x-idgen:made" %s</rdf:RDF>'
    "</x:xmpmeta>"
)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (RDF % 'I:DigitalSourceType="http://x/digitalCapture"/>', {"digital_source_type": "http://x/digitalCapture"}),
        (RDF % "><I:DigitalSourceType> a </I:DigitalSourceType></rdf:Description>", {"digital_source_type": "a"}),
        (RDF % '><i:info>{"seed": 1, "digital_source_type": 2}</i:info></rdf:Description>', {"seed": 1}),
        (RDF % "><i:info>[1]</i:info></rdf:Description>", {}),
        (RDF % f"><i:info>{'[' * 100_000}</i:info></rdf:Description>", {}),
        ("", {}),
        ("<x", {}),
        ("<x/>" + " " * (1 << 20), {}),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + RDF % 'I:DigitalSourceType="&a;"/>', {}),
    ],
)
def test_packets_of_others(tmp_path: Path, packet: str, expected: dict) -> None:
    (tmp_path / "x.png").write_bytes(with_packet(packet))
    assert read(tmp_path / "x.png") == expected


def test_the_command(tmp_path: Path) -> None:
    ours = save_image(picture(), tmp_path / "ours.png", INFO)
    picture().save(tmp_path / "plain.png")
    (tmp_path / "loud.png").write_bytes(encode(picture(), {"model": "\x1b[31m\nred"}))

    def run(*arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["provenance", *map(str, arguments)])
        return result.exit_code, result.output

    code, text = run(ours, tmp_path / "plain.png", tmp_path / "loud.png")
    first, second, third = text.splitlines()
    assert code == 0
    assert "AI-generated (trainedAlgorithmicMedia) by idgen" in first and "seed 7" in first
    assert second.endswith("says nothing about how it was made, which does not mean that it is a photo.")
    assert "model ?[31m?red" in third, "what a file says does not steer the terminal"
    code, text = run(ours, tmp_path / "plain.png", "--json")
    reports = json.loads(text)
    assert [one["ai_generated"] for one in reports] == [True, False]
    assert INFO.items() <= reports[0].items() and reports[0]["signature"] is None
    (tmp_path / "text.png").write_text("no")
    for wrong in (tmp_path / "text.png", tmp_path, tmp_path / "missing.png"):
        code, text = run(ours, wrong)
        assert code == 2 and text == f"{wrong} is not a readable image: give a PNG, JPEG or WebP file.\n"


@pytest.fixture(scope="module")
def chain() -> tuple[Credentials, str]:
    """A signer of a made-up operator, and the PEM text of the made-up authority that vouches for it."""
    pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        called = ((NameOID.ORGANIZATION_NAME, "Example operator"), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in called])

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, signs_others: bool) -> x509.Certificate:
        now, public = datetime.datetime.now(datetime.timezone.utc), key.public_key()
        no = "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only"
        usage = dict.fromkeys(no.split(), False)
        usage |= {"digital_signature": not signs_others, "key_cert_sign": signs_others, "crl_sign": signs_others}
        builder = (
            x509.CertificateBuilder(name("Root"), name(subject), public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(signs_others, None), True)
            .add_extension(x509.KeyUsage(**usage), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )
        if not signs_others:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Root", root_key, True).public_bytes(Encoding.PEM)
    leaf = certificate("Signer", key, False).public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credentials(leaf + root, secret), root.decode()


@pytest.mark.parametrize("kind", list(provenance.MIME))
def test_a_signed_picture(tmp_path: Path, chain: tuple[Credentials, str], kind: str) -> None:
    credentials, root = chain
    plain = encode(picture(), INFO, kind)
    data = sign(plain, credentials, kind)
    path = tmp_path / "signed"
    path.write_bytes(data)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(io.BytesIO(plain)))), "the very pixels"
    assert len(data) - len(plain) < 8_000
    assert INFO.items() <= read(path).items(), "the other mark is still there"
    valid = {"state": "valid", "signer": "Signer", "issuer": "Example operator"}
    assert signature(data) == {**valid, "problems": ["signingCredential.untrusted"]}
    assert signature(data, root) == {**valid, "state": "trusted", "problems": []}
    changed = bytearray(data.replace(b"person-7-0002", b"person-7-0003"))
    if kind == "PNG":  # whose chunks carry a checksum, which is no protection
        start = changed.index(b"iTXt")
        length = int.from_bytes(changed[start - 4 : start], "big") + 4
        changed[start + length : start + length + 4] = zlib.crc32(changed[start : start + length]).to_bytes(4, "big")
    path.write_bytes(changed)
    assert read(path)["identity"] == "person-7-0003"
    broken = signature(bytes(changed), root)
    assert broken["state"] == "invalid" and "assertion.dataHash.mismatch" in broken["problems"]


def test_the_operator_signs_by_environment(
    tmp_path: Path, chain: tuple[Credentials, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, root = chain
    (tmp_path / "root.pem").write_text(root)
    (tmp_path / "chain.pem").write_bytes(credentials.certificate)
    for certificate in (str(tmp_path / "chain.pem"), credentials.certificate.decode()):  # a file, or a Space's secret
        monkeypatch.setenv("IDGEN_C2PA_CERT", certificate)
        monkeypatch.setenv("IDGEN_C2PA_KEY", credentials.key.decode())
        path = save_image(picture(), tmp_path / "signed.png", INFO)
        assert signature(path.read_bytes())["state"] == "valid"
    result = CliRunner().invoke(app, ["provenance", str(path), "--trust", str(tmp_path / "root.pem")])
    assert result.exit_code == 0 and "signed by Signer of Example operator, whom you trust" in result.output
    result = CliRunner().invoke(app, ["provenance", str(path), "--trust", str(path)])
    assert result.exit_code == 2 and "give certificates as PEM" in result.output
    monkeypatch.delenv("IDGEN_C2PA_KEY")
    with pytest.raises(InputError, match="needs both IDGEN_C2PA_CERT and IDGEN_C2PA_KEY"):
        save_image(picture(), tmp_path / "new.png", INFO)
    monkeypatch.setenv("IDGEN_C2PA_KEY", str(tmp_path / "missing.pem"))
    with pytest.raises(InputError, match=r"IDGEN_C2PA_KEY names cannot be read \(No such file"):
        save_image(picture(), tmp_path / "new.png", INFO)
    assert not (tmp_path / "new.png").exists(), "an unsigned picture would pass for what it is not"


def test_a_signature_that_cannot_be_checked_says_so(
    tmp_path: Path, chain: tuple[Credentials, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signed.png").write_bytes(sign(encode(picture(), INFO), chain[0]))
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where it is not installed
    assert "signed, which is not checked: to have it checked, pip install" in sentence(report(tmp_path / "signed.png"))
    with pytest.raises(InputError, match=r"A signature needs the package c2pa: pip install .*\[c2pa\]"):
        sign(encode(picture(), INFO), chain[0])


def test_credentials_that_do_not_sign(chain: tuple[Credentials, str]) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    def key(curve: ec.EllipticCurve) -> bytes:
        return ec.generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    good, data = chain[0], encode(picture(), INFO)
    for certificate, secret, what in (
        (good.certificate, key(ec.SECP256R1()), "do not sign"),
        (b"no certificate", good.key, "do not sign"),
        (good.certificate, b"no key", "cannot be read: give it as PEM"),
        (good.certificate, key(ec.SECP256K1()), "of a kind C2PA does not sign with"),
    ):
        with pytest.raises(InputError, match=what):
            sign(data, Credentials(certificate, secret))


def test_a_signature_is_checked_without_asking_anybody(chain: tuple[Credentials, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/c2pa-jumb"  # says where the manifest is
        packet = RDF % f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>'
        assert signature(with_packet(packet), chain[1]) is None
        with pytest.raises(BlockingIOError):  # as nobody has called
            server.accept()

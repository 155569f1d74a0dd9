"""Every generated picture says so: IPTC's digital source type in an XMP packet, the settings that made it, and, where
the operator has a certificate, a C2PA signature.

`trainedAlgorithmicMedia` is IPTC's term for media made by a trained model (https://cv.iptc.org/newscodes/digitalsourcetype/).
The mark is metadata: it survives copying, not re-encoding. A signature (https://spec.c2pa.org) says in addition who
marked the picture, and that nobody has changed it since.
"""

from __future__ import annotations

import io
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from idgen import files
from idgen.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from idgen.identity import Identity

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
CERTIFICATE, KEY = "IDGEN_C2PA_CERT", "IDGEN_C2PA_KEY"

_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_PNG_XMP = "XML:com.adobe.xmp"
_IPTC, _OURS = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "urn:x-idgen:made"
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="{_IPTC}"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:idgen="{_OURS}">
   <Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>%(tool)s</xmp:CreatorTool>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">%(description)s</rdf:li></rdf:Alt></dc:description>
   <idgen:info>%(info)s</idgen:info>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_XMP = 1 << 20  # bytes; what is longer was not meant to be read
_OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


def made_by(model: str, identity: Identity, seed: int, k: int | None = None) -> dict[str, Any]:
    """What the file of a picture, or of a sheet of them, says of how it was made: the `info` of the functions here.

    The seed is the run's: a picture's own follows from the vector, and would tell two faces apart.

    The identity's name is in it only for people who do not exist: another one may be of a photo's file, or the
    person's own.
    """
    named = {} if identity.from_photo else {"identity": identity.name}
    return {"model": model, **named, "seed": seed, **({} if k is None else {"k": k})}


def encode(image: Image, info: Mapping[str, Any], kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file with its mark.

    Nothing of the image's own metadata is kept, so nothing of a photo can slip through. Equal arguments give equal
    bytes.

    Args:
        image: the generated picture.
        info: JSON values that say how it was made, see `made_by`.
        kind: PNG, JPEG or WEBP.
        options: of Pillow's encoder, such as `quality`.
    """
    from PIL import Image as images
    from PIL.PngImagePlugin import PngInfo

    from idgen.version import __version__

    info = {"generator": f"idgen {__version__}", **info}
    text = {
        "tool": info["generator"],
        "description": "AI-generated: " + ", ".join(f"{name} {value}" for name, value in info.items()),
        "info": json.dumps(info),
    }
    xmp = _XMP % {name: escape(_NOT_XML.sub("?", value)) for name, value in text.items()}
    if kind == "PNG":
        chunks = PngInfo()
        chunks.add_itxt(_PNG_XMP, xmp)
        options["pnginfo"] = chunks
    else:
        options["xmp"] = xmp.encode()
    bare = images.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, kind, **options)
    return file.getvalue()


def png_bytes(image: Image, info: Mapping[str, Any]) -> bytes:
    """`encode` as PNG."""
    return encode(image, info)


def marked(image: Image, info: Mapping[str, Any], kind: str = "PNG") -> bytes:
    """`encode`, and signed where the operator has a certificate: what leaves. A signature differs every time.

    Raises:
        InputError: it cannot be signed.
    """
    data, credentials = encode(image, info, kind), Credentials.from_env()
    return data if credentials is None else sign(data, credentials, kind)


def save_image(image: Image, path: str | Path, info: Mapping[str, Any]) -> Path:
    """Write the picture with its mark, and signed where the operator has a certificate, complete or not at all.

    Args:
        image, info: see `encode`.
        path: its ending says what kind of file: .png, .jpg or .webp.

    Raises:
        InputError: the file cannot be written there, or its ending is another, or it cannot be signed.
    """
    kind = _SUFFIXES.get(Path(path).suffix.lower())
    if kind is None:
        raise InputError(f"{path} does not say what kind of file it is: let it end in {', '.join(_SUFFIXES)}.")
    return files.write(path, marked(image, info, kind))


def read(path: str | Path) -> dict[str, Any]:
    """What a picture says about how it was made: `digital_source_type` and the `info` of `encode`; {} if nothing.

    Anybody can write such a thing into a file, or take it out: only a signature proves something (`signature`).

    Raises:
        InputError: the file is no readable PNG, JPEG or WebP.
    """
    return _said(_read(path)[1])


def _read(path: str | Path) -> tuple[bytes, bytes]:
    """A picture's file and its XMP packet (b"" if it has none)."""
    from PIL import Image as images

    try:
        if not Path(path).is_file():
            raise FileNotFoundError(path)
        data = Path(path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with images.open(io.BytesIO(data), formats=list(MIME)) as image:
                image.load()  # a PNG's packet may lie behind its pixels
                return data, bytes(image.info.get("xmp", b""))
    except Exception as error:  # decoders raise anything at all on damaged bytes
        raise InputError(f"{path} is not a readable image: give a PNG, JPEG or WebP file.") from error


def _said(xmp: bytes) -> dict[str, Any]:
    """The parts of an XMP packet that speak of how a picture was made."""
    try:
        text = xmp.decode("utf-8").strip("\x00")
        if len(text) > _LONGEST_XMP or "<!DOCTYPE" in text:  # entities could grow when they are read
            return {}
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError):
        return {}
    source_type = _property(root, f"{{{_IPTC}}}DigitalSourceType")
    try:
        info = json.loads(_property(root, f"{{{_OURS}}}info") or "{}")
    except (ValueError, RecursionError):
        info = {}
    return {
        **({"digital_source_type": source_type} if source_type else {}),
        **(
            {name: value for name, value in info.items() if name != "digital_source_type"} if type(info) is dict else {}
        ),
    }


def _property(root: ElementTree.Element, name: str) -> str:
    """A simple property of an XMP packet, which may be an element or an attribute (ISO 16684-1, 7.4 and 7.9.2.2)."""
    for element in root.iter():
        if element.tag == name and element.text:
            return element.text.strip()
        if name in element.attrib:
            return element.attrib[name].strip()
    return ""


@dataclass(frozen=True)
class Credentials:
    """What signs: a certificate chain, the signer's own first, and its private key, as PEM texts.

    C2PA asks for a certificate for signing documents or e-mail (extended key usage), from an authority on its trust
    list if others are to see the signature as trusted.
    """

    certificate: bytes
    key: bytes

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """From `IDGEN_C2PA_CERT` and `IDGEN_C2PA_KEY`: files, or the texts themselves; None where neither is set.

        Raises:
            InputError: one of them is missing or cannot be read.
        """
        texts = [environ.get(name, "").strip() for name in (CERTIFICATE, KEY)]
        if not any(texts):
            return None
        if not all(texts):
            raise InputError(f"Signing needs both {CERTIFICATE} and {KEY}: set the other one, or neither.")
        return cls(*(_pem(text, name) for text, name in zip(texts, (CERTIFICATE, KEY), strict=True)))

    def algorithm(self) -> str:
        """The signature algorithm of the key, as C2PA calls it.

        Raises:
            InputError: the key cannot be read, or is of a kind that C2PA does not sign with.
        """
        _c2pa()
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key, None)
        except Exception as error:  # ValueError, TypeError (a password), UnsupportedAlgorithm
            raise InputError(f"The key in {KEY} cannot be read: give it as PEM without a password.") from error
        curves = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
            return curves[key.curve.name]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return "ED25519"
        if isinstance(key, rsa.RSAPrivateKey):
            return "PS256"
        raise InputError(f"The key in {KEY} is of a kind C2PA does not sign with: use one on the curve P-256.")


def sign(data: bytes, credentials: Credentials, kind: str = "PNG") -> bytes:
    """A picture's file with a C2PA manifest: created by a trained model, signed. Nothing leaves this machine.

    There is no time stamp, because that would ask another machine for one: the signature counts for as long as the
    certificate does.

    Args:
        data: the file by `encode`.
        credentials: who signs.
        kind: PNG, JPEG or WEBP.

    Raises:
        InputError: the extra is not installed, or certificate and key do not sign.
    """
    c2pa = _c2pa()
    from idgen.version import __version__

    manifest = {
        "claim_generator_info": [{"name": "idgen", "version": __version__}],
        "format": MIME[kind],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
            }
        ],
    }
    algorithm = getattr(c2pa.C2paSigningAlg, credentials.algorithm())
    out = io.BytesIO()
    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, credentials.certificate, credentials.key, None))
        with signer, _context() as context, c2pa.Builder(manifest, context) as builder:
            builder.sign(signer, MIME[kind], io.BytesIO(data), out)
    except c2pa.C2paError as error:
        raise InputError(
            f"The certificate in {CERTIFICATE} and the key in {KEY} do not sign ({error}): check that they belong "
            "together, and that the certificate is meant for signing documents or e-mail."
        ) from error
    return out.getvalue()


def signature(path: str | Path, anchors: str | None = None) -> dict[str, Any] | None:
    """What the C2PA signature in a picture is worth; None if it has none. Nothing is asked of another machine, so one
    that is kept elsewhere counts as none.

    Args:
        path: a PNG, JPEG or WebP file.
        anchors: PEM text of the authorities to trust.

    Returns:
        `state`: "trusted" (unchanged, by somebody whom one of the `anchors` vouches for), "valid" (unchanged, by
        whoever holds that certificate), "invalid", or "unchecked" (the extra is not installed); and from the
        certificate `signer` and `issuer`, and `problems`, C2PA's codes.

    Raises:
        InputError: the file is no readable image, or the anchors are no certificates.
    """
    data, _ = _read(path)
    if b"c2pa" not in data or b"jumb" not in data:  # every manifest is a JUMBF box of that name
        return None
    try:
        c2pa = _c2pa()
    except InputError:
        return {"state": "unchecked", "signer": None, "issuer": None, "problems": []}
    if anchors is not None:
        _check_anchors(anchors)
    try:
        with _context(anchors) as context, c2pa.Reader(_mime(data), io.BytesIO(data), context=context) as reader:
            said, state = json.loads(reader.json()), str(reader.get_validation_state()).lower()
    except c2pa.C2paError as error:
        if isinstance(error, c2pa.C2paError.ManifestNotFound) or str(error).startswith("Remote:"):
            return None
        return {"state": "invalid", "signer": None, "issuer": None, "problems": [str(error)]}
    by = said["manifests"][said["active_manifest"]].get("signature_info", {})
    problems = [status["code"] for status in said.get("validation_status", [])]
    return {"state": state, "signer": by.get("common_name"), "issuer": by.get("issuer"), "problems": problems}


def report(path: str | Path, anchors: str | None = None) -> dict[str, Any]:
    """All that a picture says: `file`, `ai_generated`, what `read` returns, and its `signature`."""
    said = read(path)
    generated = str(said.get("digital_source_type", "")).lower().endswith("trainedalgorithmicmedia")
    return {"file": str(path), "ai_generated": generated, **said, "signature": signature(path, anchors)}


def sentence(report: Mapping[str, Any]) -> str:
    """`report` for people."""
    ours = {name: value for name, value in report.items() if name not in ("file", "ai_generated", "signature")}
    source_type, tool = str(ours.pop("digital_source_type", "")), ours.pop("generator", None)
    what = "AI-generated" if report["ai_generated"] else "its source type" if source_type else ""
    made = [f"{what} ({source_type.rsplit('/', 1)[-1]})"] if what else []
    made += [f"by {tool}"] if tool else []
    parts = [" ".join(made)] if made else []
    parts += [f"{name} {value}" for name, value in ours.items()]
    text = ", ".join(parts) or "says nothing about how it was made, which does not mean that it is a photo"
    signed = report["signature"]
    if signed is not None:
        who = " of ".join(str(name) for name in (signed["signer"], signed["issuer"]) if name) or "somebody"
        text += {
            "trusted": f"; signed by {who}, whom you trust, and unchanged since",
            "valid": f"; signed by {who}, whom nothing here vouches for, and unchanged since",
            "unchecked": "; signed, which is not checked: pip install 'idgen[c2pa]' does",
        }.get(signed["state"], f"; its signature is broken ({', '.join(signed['problems']) or signed['state']})")
    # A file may hold anything, also what a terminal would obey.
    return "".join(letter if letter.isprintable() else "?" for letter in f"{report['file']}: {text}.")


def _pem(text: str, name: str) -> bytes:
    if text.startswith("-----BEGIN"):
        return text.encode() + b"\n"
    try:
        return Path(text).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The PEM file that {name} names cannot be read ({reason}): check the path.") from error


def _check_anchors(text: str) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise InputError("The file of authorities to trust holds no certificates: give them as PEM.") from error


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise InputError("Signatures need the package c2pa-python: pip install 'idgen[c2pa]'.") from error
    return c2pa


def _context(anchors: str | None = None) -> Any:
    """Settings of one call of C2PA, which would otherwise fetch what a file tells it to."""
    c2pa = _c2pa()
    trust = {} if anchors is None else {"trust": {"trust_anchors": anchors}}
    return c2pa.Context(c2pa.Settings.from_dict({**_OFFLINE, **trust}))


def _mime(data: bytes) -> str:
    return MIME["PNG" if data.startswith(b"\x89PNG") else "JPEG" if data.startswith(b"\xff\xd8") else "WEBP"]

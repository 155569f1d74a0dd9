"""C2PA signatures of pictures (https://spec.c2pa.org): who marked one, and that nobody has changed it since.

Nothing is asked of another machine, neither to sign nor to check.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from idgen.ground.errors import InputError, require_package
from idgen.ground.version import __version__

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
CERTIFICATE, KEY = "IDGEN_C2PA_CERT", "IDGEN_C2PA_KEY"

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True)
class Credentials:
    """What signs: a certificate chain, the signer's own first, and its private key, as PEM texts.

    C2PA asks for a certificate for signing documents or e-mail (extended key usage), from an authority on its trust
    list if others are to see the signature as trusted.
    """

    certificate: bytes
    key: bytes

    @classmethod
    def from_env(cls) -> Credentials | None:
        """From `IDGEN_C2PA_CERT` and `IDGEN_C2PA_KEY`: files, or the texts themselves; None where neither is set.
        InputError if one of them is missing or cannot be read."""
        texts = [os.environ.get(name, "").strip() for name in (CERTIFICATE, KEY)]
        if not any(texts):
            return None
        if not all(texts):
            raise InputError(f"Signing needs both {CERTIFICATE} and {KEY}: set the other one, or neither.")
        return cls(*(_pem(text, name) for text, name in zip(texts, (CERTIFICATE, KEY), strict=True)))

    def algorithm(self) -> str:
        """The signature algorithm of the key, as C2PA calls it; InputError where it signs with no such key."""
        _c2pa()
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key, None)
        except Exception as error:  # ValueError, TypeError (a password), UnsupportedAlgorithm
            raise InputError(f"The key in {KEY} cannot be read: give it as PEM without a password.") from error
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return "ED25519"
        if isinstance(key, rsa.RSAPrivateKey):
            return "PS256"
        raise InputError(f"The key in {KEY} is of a kind C2PA does not sign with: use one on the curve P-256.")


def sign(data: bytes, credentials: Credentials, kind: str = "PNG") -> bytes:
    """A PNG, JPEG or WEBP file by `idgen.ground.provenance.encode` with a C2PA manifest: created by a trained model,
    signed.

    There is no time stamp, because that would ask another machine for one: the signature counts for as long as the
    certificate does. InputError if the extra is not installed, or certificate and key do not sign."""
    c2pa = _c2pa()
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    manifest = {
        "claim_generator_info": [{"name": "idgen", "version": __version__}],
        "format": MIME[kind],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
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


def signature(data: bytes, anchors: str | None = None) -> dict[str, Any] | None:
    """What the C2PA signature in a PNG, JPEG or WebP file is worth; None if it has none. One that is kept elsewhere
    counts as none. `anchors` are the PEM text of the authorities to trust.

    Returns:
        `state`: "trusted" (unchanged, by somebody whom one of the `anchors` vouches for), "valid" (unchanged, by
        whoever holds that certificate), "invalid", or "unchecked" (the extra is not installed); and from the
        certificate `signer` and `issuer`, and `problems`, C2PA's codes.

    Raises:
        InputError: the anchors are no certificates.
    """
    if b"c2pa" not in data or b"jumb" not in data:  # every manifest is a JUMBF box of that name
        return None
    try:
        c2pa = _c2pa()
    except InputError:
        return {"state": "unchecked", "signer": None, "issuer": None, "problems": []}
    if anchors is not None:
        from cryptography.x509 import load_pem_x509_certificates

        try:
            load_pem_x509_certificates(anchors.encode())
        except ValueError as error:
            raise InputError("The file of authorities to trust holds no certificates: give them as PEM.") from error
    mime = MIME["PNG" if data.startswith(b"\x89PNG") else "JPEG" if data.startswith(b"\xff\xd8") else "WEBP"]
    try:
        with _context(anchors) as context, c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
            said, state = json.loads(reader.json()), str(reader.get_validation_state()).lower()
    except c2pa.C2paError as error:
        if isinstance(error, c2pa.C2paError.ManifestNotFound) or str(error).startswith("Remote:"):
            return None
        return {"state": "invalid", "signer": None, "issuer": None, "problems": [str(error)]}
    by = said["manifests"][said["active_manifest"]].get("signature_info", {})
    problems = [status["code"] for status in said.get("validation_status", [])]
    return {"state": state, "signer": by.get("common_name"), "issuer": by.get("issuer"), "problems": problems}


def _pem(text: str, name: str) -> bytes:
    if text.startswith("-----BEGIN"):
        return text.encode() + b"\n"
    try:
        return Path(text).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The PEM file that {name} names cannot be read ({reason}): check the path.") from error


def _c2pa() -> ModuleType:
    return require_package("c2pa", "c2pa", "A signature")


def _context(anchors: str | None = None) -> Any:
    """Settings of one call of C2PA, which would otherwise fetch what a file tells it to."""
    c2pa = _c2pa()
    trust = {} if anchors is None else {"trust": {"trust_anchors": anchors}}
    return c2pa.Context(c2pa.Settings.from_dict({**_OFFLINE, **trust}))

"""Content Credentials (C2PA): signs an edited file with the user's own key. Needs c2pa-python, an optional package."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import BadInput, MissingModel

MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
INSTALL = "Content Credentials need c2pa-python; pip install 'ganime_age[c2pa]'"


class Signer:
    """Signs files with a private key and its certificate chain.

    key: PEM file, unencrypted: EC P-256 or P-384, RSA or Ed25519. certificate: PEM file, the signer's certificate
    first, its issuers after it. Nothing is sent anywhere: no time stamp server is asked. BadInput names a file that
    cannot be used, MissingModel says what to install.
    """

    def __init__(self, key: str | Path, certificate: str | Path):
        self._c2pa = _package()
        self._key, self._chain = _pem(key, "PRIVATE KEY"), _pem(certificate, "CERTIFICATE")
        self._algorithm = getattr(self._c2pa.C2paSigningAlg, _algorithm(self._key, Path(key).name))
        self._names = f"{Path(key).name} and {Path(certificate).name}"
        self._signer()

    def sign(self, file: bytes, suffix: str, source_type: str, record: dict[str, Any]) -> bytes:
        """A whole PNG, JPEG or WebP file with a signed manifest inside: what made it, and the record of the edit."""
        signed = io.BytesIO()
        try:
            builder = self._c2pa.Builder(_manifest(source_type, record))
            builder.sign(self._signer(), MIME[suffix], io.BytesIO(file), signed)
        except self._c2pa.C2paError as error:
            raise BadInput(self._refused(error)) from None
        return signed.getvalue()

    def _signer(self) -> Any:
        try:
            info = self._c2pa.C2paSignerInfo(
                alg=self._algorithm, sign_cert=self._chain, private_key=self._key, ta_url=None
            )
            return self._c2pa.Signer.from_info(info)
        except self._c2pa.C2paError as error:
            raise BadInput(self._refused(error)) from None

    def _refused(self, error: Exception) -> str:
        reason = str(error).strip().splitlines()[0]
        return f"{self._names} cannot sign ({reason}); give a key and its own certificate"


def read_credentials(file: bytes, suffix: str) -> dict[str, str] | None:
    """Who signed a file and whether it still is as signed: {"made_by", "signed_by", "state"}, or None.

    state: C2PA's word, Valid (as signed), Trusted (by a known signer as well) or Invalid (changed since). None when
    there is nothing to read, and also when c2pa-python is not installed.
    """
    try:
        c2pa = _package()
    except MissingModel:
        return None
    try:
        report = json.loads(c2pa.Reader(MIME[suffix], io.BytesIO(file)).json())
        manifest = report["manifests"][report["active_manifest"]]
    except (c2pa.C2paError, KeyError, ValueError):
        return None
    made_by = (manifest.get("claim_generator_info") or [{}])[0].get("name", "unknown")
    signed_by = manifest.get("signature_info", {}).get("common_name", "unknown")
    return {"made_by": made_by, "signed_by": signed_by, "state": report.get("validation_state", "unknown")}


def _package() -> Any:
    try:
        import c2pa
    except ImportError:
        raise MissingModel(INSTALL) from None
    return c2pa


def _pem(path: str | Path, kind: str) -> bytes:
    name = Path(path).name
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error.strerror or error}); give a PEM file") from None
    if b"-----BEGIN" not in content or kind.encode() not in content:
        raise BadInput(f"{name} holds no PEM {kind}; give a PEM file that does")
    return content


def _algorithm(key: bytes, name: str) -> str:
    """C2PA's name of the signature that a private key makes."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise BadInput(f"{name} is damaged or has a password; give an unencrypted private key") from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.key_size in (256, 384):
        return f"ES{private.key_size}"
    if isinstance(private, rsa.RSAPrivateKey):
        return "PS256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ED25519"
    raise BadInput(f"{name} is of a kind that cannot sign; give an EC P-256, RSA or Ed25519 key")


def _manifest(source_type: str, record: dict[str, Any]) -> dict[str, Any]:

    tool = {"name": "ganime_age", "version": __version__}
    said = {"digitalSourceType": source_type, "softwareAgent": tool}
    edited = {
        "action": "c2pa.edited",
        **said,
        "parameters": {"ganime_age.edit": json.dumps(record, sort_keys=True)},
    }
    actions = {"actions": [{"action": "c2pa.created", **said}, edited]}
    return {
        "claim_generator_info": [tool],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}],
    }

"""Says inside the file that a picture was edited, and how: metadata that platforms read (IPTC in XMP).

IPTC Photo Metadata Standard 2025.1 names the kind of picture (digital source type) and the system that made it; the
edit's own numbers stand beside them as JSON. Colours are sRGB and no profile is written: what has none is sRGB.
Nothing of the source file's own metadata is ever copied.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import BadInput
from .photo import header
from .signing import Signer

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a real photo that a trained model changed in part."""

MADE_BY_MODEL = ("compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia")
"""The digital source types, by any tool, that mean a trained model painted the picture or a part of it."""

WRITERS = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}
"""File ending -> Pillow's format and how it is saved. PNG alone keeps every untouched pixel as it was."""

ENDINGS = ".png, .jpg or .webp"

_EDIT = re.compile(r"""\bganime_age:edit=["']([^"'<>]*)["']""")
_SOURCE = re.compile(r"""\bDigitalSourceType(?:=|>|\s+rdf:resource=)\s*["']?\s*([^"'<>\s]+)""")


def save_edited(
    image: Image.Image, file: Any, suffix: str, record: dict[str, Any] | None, signer: Signer | None = None
) -> None:
    """Write a picture to a binary file; `suffix`: a key of WRITERS.

    record: the edit as plain numbers (`EditResult.record`), written as metadata. signer: signs the file as well (C2PA).
    None for the record writes neither: a signature without one would call edited what nobody edited.
    """
    name, options = WRITERS[suffix]
    marks = {} if record is None else _marks(name, xmp(record))
    plain = Image.fromarray(
        np.asarray(image.convert("RGB"))
    )  # pixels alone: what else an image carries stays
    if signer is None or record is None:
        plain.save(file, name, **options, **marks)
        return
    unsigned = io.BytesIO()
    plain.save(unsigned, name, **options, **marks)
    file.write(signer.sign(unsigned.getvalue(), suffix, SOURCE_TYPE, record))


def write_edited(
    image: Image.Image, path: str | Path, record: dict[str, Any] | None, signer: Signer | None = None
) -> None:
    """`save_edited` to a path, by its ending, whole or not at all; missing folders are made.

    BadInput for an ending that is not one of WRITERS, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise BadInput(
            f"{path.name} cannot be written as {path.suffix or 'a file without an ending'}; choose {ENDINGS}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                save_edited(image, file, path.suffix.lower(), record, signer)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror or error}); choose another place"
        ) from None


def xmp(record: dict[str, Any]) -> str:
    """The XMP packet of an edit: IPTC's fields, and the record as JSON."""
    from . import __version__

    system = f"ganime_age {record.get('method', '')}".strip()
    version = f"{__version__}, weights {record['weights']}" if record.get("weights") else __version__
    said = json.dumps(record, sort_keys=True, ensure_ascii=True)
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:ganime_age="urn:ganime_age:edit:1/"
 xmp:CreatorTool="ganime_age {__version__}"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"
 Iptc4xmpExt:AISystemUsed={quoteattr(system)}
 Iptc4xmpExt:AISystemVersionUsed={quoteattr(version)}
 ganime_age:edit={quoteattr(said, {'"': "&quot;"})}/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def read_metadata(source: Any) -> tuple[str | None, dict[str, Any] | None]:
    """The digital source type that a file states, by any tool, and ganime_age's record of its edit; None where absent.

    source: as for `load_photo`; an array holds no metadata. What cannot be understood counts as absent.
    """
    packet = header(source).get("xmp", b"")
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    kind, edit = _SOURCE.search(text), _EDIT.search(text)
    try:
        record = json.loads(html.unescape(edit[1])) if edit else None
    except ValueError:
        record = None
    return (html.unescape(kind[1]) if kind else None), (record if isinstance(record, dict) else None)


def _marks(name: str, packet: str) -> dict[str, Any]:
    if name != "PNG":
        return {"xmp": packet.encode()}
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    return {"pnginfo": info}


def fingerprint(model: torch.nn.Module) -> str:
    """16 hexadecimal digits that name a model's weights: SHA-256 over every tensor's name, shape and numbers."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu()
        digest.update(f"{key}{tuple(values.shape)}".encode())
        digest.update((values.float() if values.is_floating_point() else values).contiguous().numpy())
    return digest.hexdigest()[:16]

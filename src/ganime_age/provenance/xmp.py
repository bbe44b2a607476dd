"""The XMP packet of an edit (IPTC Photo Metadata Standard 2025.1): written for new files, read from any."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from xml.sax.saxutils import quoteattr

from .._version import __version__
from ..images.photo import header

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source type of a real photo that a trained model changed in part."""


MADE_BY_MODEL = ("compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia")
"""The digital source types, by any tool, that mean a trained model painted the picture or a part of it."""


_EDIT = re.compile(r"""\bganime_age:edit=["']([^"'<>]*)["']""")


_SOURCE = re.compile(r"""\bDigitalSourceType(?:=|>|\s+rdf:resource=)\s*["']?\s*([^"'<>\s]+)""")


def xmp(record: dict[str, Any]) -> str:
    """The XMP packet of an edit, to be written as UTF-8: IPTC's fields, and the record as JSON."""
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

    source: as for `load_photo`; an array holds no metadata. Metadata that cannot be parsed counts as absent.
    """
    packet = header(source).get("xmp", b"")
    return read_packet(packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet))


def read_packet(text: str) -> tuple[str | None, dict[str, Any] | None]:
    """`read_metadata` of an XMP packet."""
    kind, edit = _SOURCE.search(text), _EDIT.search(text)
    try:
        record = json.loads(html.unescape(edit[1])) if edit else None
    except ValueError:
        record = None
    return (html.unescape(kind[1]) if kind else None), (record if isinstance(record, dict) else None)

"""Says inside the file that a picture was edited, in metadata that platforms read (IPTC in XMP)."""

from __future__ import annotations

from PIL import Image
from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a real photo that a trained model changed in part."""

XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="ganime_age"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

WRITERS = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}
"""File ending -> Pillow's format and how it is saved. PNG alone keeps every untouched pixel as it was."""


def save_edited(image: Image.Image, file, suffix: str) -> None:
    """Write an edited picture, marked as edited, to `file` (path or binary file); `suffix`: a key of WRITERS."""
    name, options = WRITERS[suffix]
    if name == "PNG":
        mark = PngInfo()
        mark.add_itxt("XML:com.adobe.xmp", XMP)
        image.save(file, name, pnginfo=mark, **options)
    else:
        image.save(file, name, xmp=XMP.encode(), **options)

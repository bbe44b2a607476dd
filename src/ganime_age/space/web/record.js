// The metadata of an edit, as ganime_age/provenance/xmp.py writes it, in a PNG.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

const quoted = (text) => `"${text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;")}"`;

function xmp(record, version) {
  const source = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
  return `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:ganime_age="urn:ganime_age:edit:1/"
 xmp:CreatorTool="ganime_age ${version}"
 Iptc4xmpExt:DigitalSourceType="${source}"
 Iptc4xmpExt:AISystemUsed=${quoted(`ganime_age ${record.method}`)}
 Iptc4xmpExt:AISystemVersionUsed=${quoted(`${version}, weights ${record.weights}`)}
 ganime_age:edit=${quoted(JSON.stringify(record))}/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>`;
}

/** A PNG with the record of its edit. */
export async function marked(png, record, version) {
  const bytes = new Uint8Array(await png.arrayBuffer());
  const text = new TextEncoder().encode(`iTXtXML:com.adobe.xmp\0\0\0\0\0${xmp(record, version)}`);
  const chunk = new Uint8Array(text.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, text.length - 4);
  chunk.set(text, 4);
  view.setUint32(text.length + 4, crc(text));
  const head = 33; // the signature and IHDR
  return new Blob([bytes.slice(0, head), chunk, bytes.slice(head)], { type: "image/png" });
}

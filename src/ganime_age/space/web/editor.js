// The way of a photo through the exported graphs, as ganime_age/onnx/editor.py: detect, align, read, edit, paste.
import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { apply, axesMatrix, crop, cut, faceBox, frameAxes, invert, keepApart, reach, scaleOf, settled, shrink, shrunk } from "./pixels.js";

export const UNITS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45].map((n) => `AU${String(n).padStart(2, "0")}`);
const [ANCHOR, STRIDE, MARGIN, FINEST, COARSEST, CANDIDATES, THRESHOLD, DOUBTFUL, HOPE, SPAN] = [48, 8, 16, 768, 28, 48, 0.55, 0.6, 0.2, 0.95];

const FORMAT = 4; // of the graphs, as in ganime_age/onnx/manifest.py

export class Editor {
  /** Reads the manifest; graphs are fetched as they are first needed. */
  static async open(folder, said = () => {}) {
    const reply = await fetch(`${folder}/manifest.json`);
    if (!reply.ok) throw new Error("The graphs are missing: graphs/manifest.json was not found.");
    const editor = new Editor();
    Object.assign(editor, { folder, said, manifest: await reply.json(), sessions: {} });
    const { format } = editor.manifest;
    if (format !== FORMAT) throw new Error(`The graphs are of format ${format}, this page reads ${FORMAT}; deploy the page again.`);
    ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    editor.weights = editor.bytes("weights.bin");
    return editor;
  }

  async bytes(name) {
    const reply = await fetch(`${this.folder}/${name}`);
    const data = reply.ok ? new Uint8Array(await reply.arrayBuffer()) : null;
    if (!data || data.length !== this.manifest.files[name].bytes) {
      throw new Error(`The file graphs/${name} is missing or damaged; deploy the page again.`);
    }
    return data;
  }

  async run(name, feeds) {
    if (!this.sessions[name]) {
      this.said(`Opening ${name} …`);
      const [graph, weights] = await Promise.all([this.bytes(`${name}.onnx`), this.weights]);
      const externalData = [{ path: "weights.bin", data: weights }];
      this.sessions[name] = await ort.InferenceSession.create(graph, { externalData, executionProviders: ["wasm"] });
    }
    return this.sessions[name].run(feeds);
  }

  /** Landmarks of every face of a photo in its pixels, the largest face first. */
  async detect(photo) {
    const [rows, scores] = [[], []];
    let small = photo;
    let scale = Math.min(1, FINEST / Math.max(photo.width, photo.height));
    for (; Math.max(photo.width, photo.height) * scale >= COARSEST; scale /= 2) {
      const size = [photo.width, photo.height].map((n) => Math.max(1, Math.round(n * scale)));
      if (scale !== 1) small = shrink(small, ...size);
      for (const [row, score] of await this.propose(small)) {
        rows.push([(row[0] - MARGIN) / scale, (row[1] - MARGIN) / scale, row[2] / scale, row[3] / scale]);
        scores.push(score);
      }
    }
    const around = rows.map(([x, y, a, b]) => {
      const r = 0.28 * Math.hypot(a, b);
      return [x - r, y - r, x + r, y + r];
    });
    const found = [];
    for (const i of keepApart(around, scores, 1).slice(0, CANDIDATES)) {
      const first = await this.mark(photo, rows[i]);
      if (Math.sqrt(first.score * scores[i]) < HOPE) continue;
      const next = rowOf(frameAxes(first.points));
      const ratio = Math.hypot(next[2], next[3]) / Math.hypot(rows[i][2], rows[i][3]);
      const second = await this.mark(photo, ratio > 0.3 && ratio < 3 ? next : rows[i]);
      const score = Math.sqrt(second.score * scores[i]);
      if (score >= THRESHOLD) found.push({ points: second.points, score, box: faceBox(second.points) });
    }
    const kept = keepApart(found.map((f) => f.box), found.map((f) => f.score)).map((i) => found[i]);
    const size = ({ box: b }) => (b[2] - b[0]) * (b[3] - b[1]);
    const doubtful = (face) => Number(face.score < DOUBTFUL);
    return kept.sort((a, b) => doubtful(a) - doubtful(b) || size(b) - size(a));
  }

  async propose(level) {
    const round = (n) => MARGIN + n + MARGIN + ((8 - (n % 8)) % 8);
    const [width, height] = [round(level.width), round(level.height)];
    const data = new Uint8Array(width * height * 3).fill(128);
    for (let y = 0; y < level.height; y++) {
      const line = level.data.subarray(y * level.width * 3, (y + 1) * level.width * 3);
      data.set(line, ((y + MARGIN) * width + MARGIN) * 3);
    }
    const out = await this.run("seek", { level: new ort.Tensor("uint8", data, [1, height, width, 3]) });
    const [scores, frames, columns] = [out.scores.data, out.frames.data, out.scores.dims[3]];
    const cells = scores.length;
    const likely = [...scores.keys()].filter((i) => scores[i] >= THRESHOLD ** 2);
    return likely.sort((a, b) => scores[b] - scores[a]).slice(0, CANDIDATES).map((i) => [[
      frames[i] + ((i % columns) + 0.5) * STRIDE,
      frames[cells + i] + (Math.floor(i / columns) + 0.5) * STRIDE,
      frames[2 * cells + i] + ANCHOR,
      frames[3 * cells + i],
    ], scores[i]]);
  }

  async mark(photo, row) {
    const side = this.manifest.crop_side;
    const matrix = axesMatrix(row.slice(0, 2), row.slice(2), side, SPAN);
    const out = await this.run("mark", { crop: levels(crop(photo, matrix, side, false), "float32") });
    const [back, marks] = [invert(matrix), out.landmarks.data];
    const points = Array.from({ length: 68 }, (_, i) => apply(back, [marks[2 * i] * side, marks[2 * i + 1] * side]));
    return { points, score: out.score.data[0] };
  }

  /** A face found, aligned and read: {matrix, pixels, age, units, marks}, marks in pixels of the frame. */
  async read(photo, points) {
    const size = this.manifest.face_size;
    const { centre, axis } = settled(frameAxes(points));
    const matrix = axesMatrix(centre, axis, size, this.manifest.crop_scale);
    const pixels = crop(photo, matrix, size);
    const out = await this.run("read", { face: levels(pixels) });
    const units = Array.from(out.action_units.data, (value) => Math.min(value, 5));
    const marks = Array.from(out.landmarks.data, (value) => value * size);
    return { matrix, pixels, age: out.age.data[0], units, marks };
  }

  /** The photo with a face edited: age in years or null, units {AU12: 3}. */
  async edit(photo, face, { age, units }) {
    const wanted = UNITS.map((code, i) => units[code] ?? face.units[i]);
    const size = this.manifest.face_size;
    const own = size / scaleOf(face.matrix);
    const side = this.manifest.sides.find((n) => n >= own) ?? this.manifest.sides.at(-1);
    const matrix = face.matrix.map((value) => (value * side) / size);
    const shown = side === size ? face.pixels : crop(photo, matrix, side);
    const one = (value) => new ort.Tensor("float32", Float32Array.of(value), [1]);
    const number = (value) => new ort.Tensor("float32", Float32Array.of(value), []);
    const many = (values, dims) => new ort.Tensor("float32", Float32Array.from(values), dims);
    const out = await this.run(`edit_${side}`, {
      face: levels(shown),
      landmarks: many(face.marks.map((value) => value / size), [68, 2]),
      source_age: one(face.age),
      target_age: one(age ?? face.age),
      source_units: many(face.units, [1, 17]),
      target_units: many(wanted, [1, 17]),
      marked: number(1),
      side: number(own),
    });
    return this.paste(photo, out.change.data, side, matrix);
  }

  async paste(photo, change, side, matrix) {
    let back = invert(matrix);
    const [left, top, right, bottom] = reach(back, side, side, photo);
    [back[2], back[5]] = [back[2] - left, back[5] - top];
    const plane = side * side;
    const data = new Float32Array(plane * 4);
    for (let i = 0; i < plane; i++) for (let c = 0; c < 4; c++) data[4 * i + c] = change[c * plane + i];
    const [added, rest] = shrunk({ data, width: side, height: side }, back);
    const [width, height] = [right - left, bottom - top];
    const way = invert(rest);
    const grid = new Float32Array(width * height * 2);
    for (let y = 0, k = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [u, v] = apply(way, [x + 0.5, y + 0.5]);
        grid[k++] = (2 * u) / added.width - 1;
        grid[k++] = (2 * v) / added.height - 1;
      }
    }
    const small = added.width * added.height;
    const planes = new Float32Array(small * 4);
    for (let i = 0; i < small; i++) for (let c = 0; c < 4; c++) planes[c * small + i] = added.data[4 * i + c];
    const region = cut(photo, left, top, right, bottom);
    const out = await this.run("paste", {
      region: new ort.Tensor("uint8", region.data, [1, height, width, 3]),
      change: new ort.Tensor("float32", planes, [1, 4, added.height, added.width]),
      grid: new ort.Tensor("float32", grid, [1, height, width, 2]),
    });
    const edited = { ...photo, data: photo.data.slice() };
    for (let y = 0; y < height; y++) {
      const line = out.pasted.data.subarray(y * width * 3, (y + 1) * width * 3);
      edited.data.set(line, ((top + y) * photo.width + left) * 3);
    }
    return edited;
  }
}

const levels = (picture, type = "uint8") => new ort.Tensor(type, picture.data, [picture.height, picture.width, 3]);

function rowOf({ centre: [x, y], axis: [a, b] }) {
  return [x - 0.1 * b, y + 0.1 * a, a, b];
}

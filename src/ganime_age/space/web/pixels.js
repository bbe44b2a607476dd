// Pictures are {data, width, height}: RGB, three numbers a pixel. Positions are continuous pixels, and an affine map is
// [a, b, c, d, e, f]: x' = a x + b y + c, y' = d x + e y + f. As ganime_age/images/frames.py and plain.py.

export const apply = (m, [x, y]) => [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]];

export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  const [p, q, r, s] = [e / det, -b / det, -d / det, a / det];
  return [p, q, -(p * c + q * f), r, s, -(r * c + s * f)];
}

export const scaleOf = (m) => Math.sqrt(Math.abs(m[0] * m[4] - m[1] * m[3]));

/** The map from the square around a centre, with an x side, to `size` pixels. */
export function axesMatrix([cx, cy], [ax, ay], size, scale = 1) {
  const length = (ax * ax + ay * ay) * scale;
  const [x, y] = [(ax * size) / length, (ay * size) / length];
  return [x, y, size / 2 - (x * cx + y * cy), -y, x, size / 2 - (-y * cx + x * cy)];
}

const mean = (points, first, end) => {
  let [x, y] = [0, 0];
  for (let i = first; i < end; i++) [x, y] = [x + points[i][0], y + points[i][1]];
  return [x / (end - first), y / (end - first)];
};

/** Centre and x side of the FFHQ frame of 68 landmarks. */
export function frameAxes(points) {
  const [left, right] = [mean(points, 36, 42), mean(points, 42, 48)];
  const [l, r] = [points[48], points[54]];
  const across = [right[0] - left[0], right[1] - left[1]];
  const eyes = [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2];
  const down = [(l[0] + r[0]) / 2 - eyes[0], (l[1] + r[1]) / 2 - eyes[1]];
  const half = [across[0] + down[1], across[1] - down[0]];
  const length = Math.hypot(...half);
  const side = (2 * Math.max(Math.hypot(...across) * 2, Math.hypot(...down) * 1.8)) / length;
  return { centre: [eyes[0] + 0.1 * down[0], eyes[1] + 0.1 * down[1]], axis: [half[0] * side, half[1] * side] };
}

/** Centre and x side as frames.settled_matrix rounds them: landmarks that differ by a last bit cut out the same. */
export function settled({ centre, axis }) {
  const step = 2 ** (Math.floor(Math.log2(Math.hypot(...axis))) - 14);
  const [c, a] = [centre, axis].map((part) => part.map((value) => Math.round(value / step) * step));
  return { centre: c, axis: a };
}

/** The upright box of a face: its landmarks and the forehead. */
export function faceBox(points) {
  const eyes = mean(points, 36, 48);
  const up = [eyes[0] - (points[48][0] + points[54][0]) / 2, eyes[1] - (points[48][1] + points[54][1]) / 2];
  const all = [...points, ...points.slice(17, 27).map(([x, y]) => [x + 0.7 * up[0], y + 0.7 * up[1]])];
  const [xs, ys] = [all.map((p) => p[0]), all.map((p) => p[1])];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** Greedy non-maximum suppression: indices, the best first. */
export function keepApart(boxes, scores, inside = 0.7) {
  const areaOf = (b) => (b[2] - b[0]) * (b[3] - b[1]);
  const kept = [];
  for (const i of scores.map((_, k) => k).sort((a, b) => scores[b] - scores[a])) {
    const apart = kept.every((j) => {
      const [a, b] = [boxes[i], boxes[j]];
      const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
      const h = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
      const shared = Math.max(w, 0) * Math.max(h, 0);
      const both = areaOf(a) + areaOf(b) - shared;
      return shared / both <= 0.4 && shared / Math.min(areaOf(a), areaOf(b)) <= inside;
    });
    if (apart) kept.push(i);
  }
  return kept;
}

/** The part of a photo that a frame touches: left, top, right, bottom. */
export function reach(matrix, width, height, photo) {
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map((p) => apply(matrix, p));
  const margin = 3 + 3 * scaleOf(matrix);
  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const [xs, ys] = [corners.map((p) => p[0]), corners.map((p) => p[1])];
  const left = clip(Math.floor(Math.min(...xs) - margin), 0, photo.width - 1);
  const top = clip(Math.floor(Math.min(...ys) - margin), 0, photo.height - 1);
  const right = clip(Math.ceil(Math.max(...xs) + margin), left + 1, photo.width);
  const bottom = clip(Math.ceil(Math.max(...ys) + margin), top + 1, photo.height);
  return [left, top, right, bottom];
}

/** A rectangle of a picture. */
export function cut(picture, left, top, right, bottom) {
  const width = right - left;
  const data = new picture.data.constructor(width * (bottom - top) * 3);
  for (let y = top; y < bottom; y++) {
    const start = (y * picture.width + left) * 3;
    data.set(picture.data.subarray(start, start + width * 3), (y - top) * width * 3);
  }
  return { data, width, height: bottom - top };
}

/** Shares of `size` pixels in `count` equal parts of their line: for each part, the first pixel and the weights. */
function shares(size, count) {
  const step = size / count;
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i * step, (i + 1) * step];
    const first = Math.floor(from);
    const end = Math.min(Math.ceil(to - 1e-9), size);
    const weights = Array.from({ length: end - first }, (_, k) =>
      (Math.min(to, first + k + 1) - Math.max(from, first + k)) / step);
    return { first, weights };
  });
}

/** A picture averaged over areas to a size that is no larger. */
function area(picture, width, height) {
  const whole = picture.data instanceof Uint8Array;
  const channels = picture.data.length / (picture.width * picture.height);
  const rows = shares(picture.height, height);
  const columns = shares(picture.width, width);
  const line = new Float32Array(picture.width * channels);
  const data = new picture.data.constructor(width * height * channels);
  for (let y = 0; y < height; y++) {
    line.fill(0);
    rows[y].weights.forEach((weight, k) => {
      const start = (rows[y].first + k) * picture.width * channels;
      for (let i = 0; i < line.length; i++) line[i] += weight * picture.data[start + i];
    });
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * line[(first + k) * channels + c];
        data[(y * width + x) * channels + c] = whole ? Math.round(sum) : sum;
      }
    }
  }
  return { data, width, height };
}

/** A picture at half its size; an odd last row or column is left out. */
function halved(picture) {
  const channels = picture.data.length / (picture.width * picture.height);
  const [width, height] = [picture.width >> 1, picture.height >> 1];
  const data = new picture.data.constructor(width * height * channels);
  const [line, half] = [picture.width * channels, picture.data instanceof Uint8Array ? 0.5 : 0]; // halves go up
  for (let y = 0, k = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        const at = 2 * y * line + 2 * x * channels + c;
        const upper = picture.data[at] + picture.data[at + channels];
        const lower = picture.data[at + line] + picture.data[at + line + channels];
        data[k++] = (upper + lower) / 4 + half;
      }
    }
  }
  return { data, width, height };
}

/** A photo averaged over areas to a smaller size. */
export function shrink(photo, width, height) {
  const large = photo.width >= 2 * width && photo.height >= 2 * height;
  return area(large ? halved(photo) : photo, width, height);
}

/**
 * A picture averaged to the scale at which a map draws it, where that is smaller, and what is left of the map. rounded:
 * false makes levels of numbers between them.
 */
export function shrunk(picture, m, rounded = true) {
  let [small, rest] = [picture, m];
  if (scaleOf(m) < 0.5 && Math.min(picture.width, picture.height) > 1) {
    [small, rest] = [halved(picture), [2 * m[0], 2 * m[1], m[2], 2 * m[3], 2 * m[4], m[5]]];
  }
  if (!rounded) small = { ...small, data: Float32Array.from(small.data) };
  const scale = scaleOf(rest);
  if (scale >= 1) return [small, rest];
  const width = Math.max(1, Math.round(small.width * scale));
  const height = Math.max(1, Math.round(small.height * scale));
  const [x, y] = [small.width / width, small.height / height];
  return [area(small, width, height), [rest[0] * x, rest[1] * y, rest[2], rest[3] * x, rest[4] * y, rest[5]]];
}

/** Keys' cubic with a = -0.75 of the four pixels around a place t beyond the second. */
function cubicWeights(t, out) {
  const a = -0.75;
  out[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
  out[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
  out[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
  out[3] = 1 - out[0] - out[1] - out[2];
}

/** The aligned face of `size` pixels that a map cuts out of a photo. rounded: false gives numbers in 0..255. */
export function crop(photo, matrix, size, rounded = true) {
  const [left, top, right, bottom] = reach(invert(matrix), size, size, photo);
  const moved = [...matrix];
  [moved[2], moved[5]] = apply(matrix, [left, top]);
  const [source, rest] = shrunk(cut(photo, left, top, right, bottom), moved, rounded);
  const back = invert(rest);
  for (const i of [2, 5]) back[i] += (back[i - 2] + back[i - 1] - 1) / 2;
  const [a, b, c, d, e, f] = back.map(Math.fround);
  const place = (along, down, start, u, v) => Math.fround(Math.fround(along * u) + Math.fround(Math.fround(down * v) + start));
  const data = new (rounded ? Uint8Array : Float32Array)(size * size * 3);
  const level = (value) => Math.min(Math.max(rounded ? Math.floor(value + 0.5) : value, 0), 255);
  const [wx, wy] = [new Float64Array(4), new Float64Array(4)];
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const [px, py] = [place(a, b, c, u, v), place(d, e, f, u, v)]; // 0: the first pixel's centre; as plain.places
      const [x, y] = [Math.floor(px), Math.floor(py)];
      cubicWeights(px - x, wx);
      cubicWeights(py - y, wy);
      const sum = [0, 0, 0];
      for (let j = 0; j < 4; j++) {
        const row = Math.min(Math.max(y + j - 1, 0), source.height - 1) * source.width;
        for (let i = 0; i < 4; i++) {
          const at = (row + Math.min(Math.max(x + i - 1, 0), source.width - 1)) * 3;
          const weight = wx[i] * wy[j];
          for (let k = 0; k < 3; k++) sum[k] += weight * source.data[at + k];
        }
      }
      const at = (v * size + u) * 3;
      for (let k = 0; k < 3; k++) data[at + k] = level(sum[k]);
    }
  }
  return { data, width: size, height: size };
}

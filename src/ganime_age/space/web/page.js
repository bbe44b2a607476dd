import { Editor } from "./editor.js";
import { marked } from "./record.js";

const MOST = 40e6;
const SLIDERS = [
  ["age", "Age in years", 0, 90, 1, []],
  ["AU12", "Smile", 0, 5, 0.1, ["AU12"]],
  ["AU25", "Lips apart", 0, 5, 0.1, ["AU25"]],
  ["AU26", "Jaw drop", 0, 5, 0.1, ["AU26"]],
  ["AU04", "Frown", 0, 5, 0.1, ["AU04"]],
  ["AU01", "Brows up", 0, 5, 0.1, ["AU01", "AU02"]],
  ["AU15", "Mouth corners down", 0, 5, 0.1, ["AU15"]],
  ["AU45", "Eyes closed", 0, 5, 0.1, ["AU45"]],
];
const PRESETS = {
  Smile: { AU12: 3.5, AU25: 2 },
  Surprise: { AU01: 3, AU25: 3, AU26: 3 },
  Sadness: { AU01: 3, AU04: 2.5, AU15: 3 },
  Neutral: { AU12: 0, AU25: 0, AU26: 0, AU04: 0, AU01: 0, AU15: 0, AU45: 0 },
};
const $ = (id) => document.getElementById(id);
const [canvas, form] = [$("canvas"), $("controls")];
let [editor, photo, face, edited, moved, asked] = [null, null, null, null, new Set(), null];

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function draw(picture) {
  const shown = new ImageData(picture.width, picture.height);
  for (let i = 0, k = 0; i < picture.data.length; i += 3, k += 4) {
    shown.data[k] = picture.data[i];
    shown.data[k + 1] = picture.data[i + 1];
    shown.data[k + 2] = picture.data[i + 2];
    shown.data[k + 3] = 255;
  }
  [canvas.width, canvas.height, canvas.hidden] = [picture.width, picture.height, false];
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

/** A file's pixels, upright, transparent parts over white. */
async function pixelsOf(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is not a photo that this browser reads; give a JPEG, PNG, WebP or AVIF.`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST) throw new Error(`${file.name} is ${width}x${height}; the limit is 40 megapixels.`);
  if (Math.min(width, height) < 64) throw new Error(`${file.name} is ${width}x${height}; both sides must be at least 64 pixels.`);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const four = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, k = 0; k < four.length; i += 3, k += 4) [data[i], data[i + 1], data[i + 2]] = [four[k], four[k + 1], four[k + 2]];
  return { data, width, height };
}

function enable() {
  $("photo").disabled = false;
  $("asked").disabled = !face;
  $("edit").disabled = !(face && $("consent").checked);
  for (const button of $("presets").children) button.disabled = false;
  $("save").disabled = $("compare").disabled = !edited;
}

/** Runs one piece of work; what goes wrong is one sentence. */
async function work(text, what) {
  say(text);
  form.setAttribute("aria-busy", "true");
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  $("photo").disabled = true;
  await new Promise((resolve) => setTimeout(resolve, 20)); // the sentence is shown first
  try {
    await what();
  } catch (error) {
    say(error.message, true);
  }
  form.removeAttribute("aria-busy");
  enable();
}

const take = (file) => work("Looking for a face …", async () => {
  const next = await pixelsOf(file);
  [photo, face, edited] = [next, null, null];
  draw(photo);
  $("drop").classList.add("small");
  const found = await editor.detect(photo);
  if (!found.length) throw new Error("No face was found; give a photo with a face that looks at the camera.");
  face = await editor.read(photo, found[0].points);
  face.name = file.name;
  moved.clear();
  for (const [id, , , , , units] of SLIDERS) set(id, units.length ? unit(units[0]) : face.age);
  const more = found.length > 1 ? ` ${found.length} faces were found; the largest is edited.` : "";
  say(`The face reads as ${face.age.toFixed(0)} years.${more}`);
});

const unit = (code) => face.units[[1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45].indexOf(Number(code.slice(2)))];

function set(id, value) {
  $(id).value = value;
  $(`${id}-value`).value = Number($(id).value).toFixed(id === "age" ? 0 : 1);
}

const change = () => work("Editing …", async () => {
  const units = {};
  for (const [id, , , , , codes] of SLIDERS) {
    if (moved.has(id)) for (const code of codes) units[code] = Number($(id).value);
  }
  asked = { age: moved.has("age") ? Number($("age").value) : null, units };
  if (asked.age === null && !Object.keys(units).length) throw new Error("Nothing is asked for; move a slider.");
  const started = performance.now();
  edited = await editor.edit(photo, face, asked);
  draw(edited);
  say(`Edited in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
});

async function save() {
  draw(edited);
  const png = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const { method, weights, ganime_age: version } = editor.manifest;
  const record = { age: asked.age, action_units: asked.units, strength: 1, method, weights };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await marked(png, record, version));
  link.download = `${face.name.replace(/\.\w+$/, "")}_edited.png`;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const [id, name, low, high, step] of SLIDERS) {
  const row = document.createElement("div");
  row.className = "slider";
  row.innerHTML = `<label for="${id}">${name}</label><output id="${id}-value" for="${id}"></output>
    <input type="range" id="${id}" min="${low}" max="${high}" step="${step}">`;
  $("sliders").append(row);
  $(id).addEventListener("input", () => {
    moved.add(id);
    set(id, $(id).value);
  });
}
for (const [name, values] of Object.entries(PRESETS)) {
  const button = document.createElement("button");
  [button.type, button.textContent] = ["button", name];
  button.addEventListener("click", () => {
    for (const [id, value] of Object.entries(values)) {
      moved.add(id);
      set(id, value);
    }
  });
  $("presets").append(button);
}
$("photo").addEventListener("change", () => $("photo").files.length && take($("photo").files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  $("pictures").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length && !$("photo").disabled) take(event.dataTransfer.files[0]);
  });
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  change();
});
$("consent").addEventListener("change", enable);
$("save").addEventListener("click", save);
for (const name of ["pointerdown", "keydown"]) {
  $("compare").addEventListener(name, (event) => (!event.key || " Enter".includes(event.key)) && draw(photo));
}
for (const name of ["pointerup", "pointerleave", "keyup", "blur"]) $("compare").addEventListener(name, () => edited && draw(edited));
try {
  editor = await Editor.open("graphs", say);
  await editor.weights;
  say("Ready. Choose a photo.");
} catch (error) {
  say(error.message, true);
  $("photo").disabled = true;
}

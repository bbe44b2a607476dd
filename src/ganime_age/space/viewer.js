// The viewer of before and after. It runs where the component is mounted: `element` is its root, `props.value` what the
// server says (viewer.py), `trigger` tells the server which face or former result was picked.
const $ = name => element.querySelector(name);
const view = {mode: 'split', zoom: false, cut: 50, data: {}, seen: ''};
const SMALL = 0.55;  // height of a face's frame, in that of its photo, below which the viewer starts zoomed
const show = (part, visible) => { part.hidden = !visible; };

function url(path) {
  return path && !/^(https?:|data:|blob:)/.test(path) ? new URL(`gradio_api/file=${path}`, document.baseURI).href : path;
}

// Where a picture begins: its edge never leaves a gap that it could fill; a smaller one stands in the middle.
const within = (start, room) => room < 0 ? Math.min(0, Math.max(room, start)) : room / 2;

// Both pictures lie at the same place of their panes; zoomed, the face's frame fills the pane.
function place() {
  const stage = $('.stage'), before = $('.before');
  if (!before.naturalWidth) return;
  const both = view.mode === 'both' && !$('.after').hidden;
  const width = both ? (stage.clientWidth - 6) / 2 : stage.clientWidth, height = stage.clientHeight;
  const [x, y, w, h] = view.zoom && view.data.frame ? view.data.frame : [0, 0, 1, 1];
  const scale = Math.min(width / (w * before.naturalWidth), height / (h * before.naturalHeight));
  const shown = {w: before.naturalWidth * scale, h: before.naturalHeight * scale};
  const left = within(width / 2 - (x + w / 2) * shown.w, width - shown.w);
  const top = within(height / 2 - (y + h / 2) * shown.h, height - shown.h);
  const start = Math.max(0, left), end = Math.min(width, left + shown.w);
  const sizes = {left, top, width: shown.w, height: shown.h};
  for (const [name, value] of Object.entries(sizes)) stage.style.setProperty(`--${name}`, `${value}px`);
  stage.style.setProperty('--start', `${start}px`);
  stage.style.setProperty('--across', `${end - start}px`);
  stage.style.setProperty('--cut', `${start + (end - start) * view.cut / 100}px`);
}

function look() {
  const viewer = $('.viewer'), edited = !$('.after').hidden;
  viewer.dataset.mode = edited ? view.mode : 'before';
  viewer.dataset.zoomed = view.zoom;
  for (const button of element.querySelectorAll('[data-mode-of]'))
    button.setAttribute('aria-pressed', button.dataset.modeOf === view.mode);
  $('.zoom').setAttribute('aria-pressed', view.zoom);
  show($('.tools'), Boolean($('.before').getAttribute('src')));
  for (const button of element.querySelectorAll('.of-edits')) show(button, edited);
  show($('.zoom'), Boolean(view.data.frame));
  place();
}

async function put(image, address) {
  if (!address) { image.removeAttribute('src'); show(image, false); return; }
  if (image.src !== address) {
    const coming = new Image();
    coming.src = address;
    try { await coming.decode(); } catch { if (image.classList.contains('before')) return; }
    image.src = address;
    await image.decode().catch(() => {});
  }
  show(image, true);
}

function frames(boxes, chosen) {
  const faces = $('.faces');
  faces.replaceChildren(...(boxes ?? []).map(([x, y, w, h], i) => {
    const button = document.createElement('button');
    Object.assign(button.style, {left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * w}%`, height: `${100 * h}%`});
    button.type = 'button';
    button.innerHTML = `<span>${i + 1}</span>`;
    button.setAttribute('aria-label', `Face ${i + 1}`);
    button.setAttribute('aria-pressed', i === chosen);
    button.onclick = () => trigger('pick', {index: i});
    return button;
  }));
  show(faces, (boxes ?? []).length > 1);
}

let turn = 0;
async function update() {
  const data = typeof props.value === 'string' ? JSON.parse(props.value || '{}') : props.value ?? {};
  const mine = ++turn;
  view.data = data;
  if (data.frame && view.seen !== data.before) {  // another photo: a small face fills the viewer, one of several does not
    view.zoom = data.frame[3] < SMALL && (data.boxes ?? []).length < 2;
    view.seen = data.before;
  }
  $('.viewer').classList.toggle('empty', !data.before);
  frames(data.boxes, data.face);
  $('.before').alt = data.before ? 'The photo before the edit' : '';
  $('.after').alt = data.after ? data.alt : '';
  await put($('.before'), url(data.before));
  await put($('.after'), url(data.after));
  if (mine !== turn) return;
  sketch(null);
  $('.stage').dataset.key = data.key ?? '';
  look();
}

// A quick draft of the edit, laid over the face while a slider moves. The finished edit takes it away.
function sketch(draft) {
  const layer = $('.sketch');
  if (!draft?.src || draft.key === $('.stage').dataset.key) { show(layer, false); return; }
  const [x, y, w, h] = draft.box;
  Object.assign(layer.style, {left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * w}%`, height: `${100 * h}%`});
  layer.style.backgroundImage = `url(${draft.src})`;
  show(layer, true);
  if ($('.after').hidden) { $('.after').src = $('.before').src; show($('.after'), true); look(); }
  window.ganimeAge.drafts += 1;
}

// The photo shows at once, before the server has seen it.
function give(file) {
  const address = file?.url;
  if (address && view.data.before === address) return;
  turn += 1;
  props.value = address ? {before: address} : {};
  update();
}

window.ganimeAge = {...window.ganimeAge, give, sketch, drafts: 0};
watch('value', update);
element.addEventListener('click', ({target}) => {
  const button = target.closest('button');
  if (!button) return;
  if (button.dataset.modeOf) view.mode = button.dataset.modeOf;
  else if (button.matches('.zoom')) view.zoom = !view.zoom;
  else if (button.matches('.full')) {
    if (document.fullscreenElement) document.exitFullscreen(); else $('.viewer').requestFullscreen?.();
  } else return;
  look();
});
$('.handle').addEventListener('input', ({target}) => { view.cut = Number(target.value); place(); });
const hold = held => { $('.viewer').classList.toggle('held', held); };
for (const kind of ['pointerdown', 'keydown'])
  $('.hold').addEventListener(kind, event => { if (!event.key || ' Enter'.includes(event.key)) hold(true); });
for (const kind of ['pointerup', 'pointerleave', 'keyup', 'blur']) $('.hold').addEventListener(kind, () => hold(false));
new ResizeObserver(place).observe($('.stage'));
update();

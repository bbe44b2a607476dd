// The player of clips. `props.value` is what the server says (player.py); `element` is the component's root.
const $ = name => element.querySelector(name);
const source = $('.source video'), made = $('.made video'), still = $('.made img');
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
const url = path => new URL(`gradio_api/file=${path}`, document.baseURI).href;

function put(video, path) {
  if (!path) { video.pause(); video.removeAttribute('src'); video.load(); return; }
  video.muted = true;
  video.src = url(path);
  if (!calm) video.play().catch(() => {});
}

function update() {
  const data = typeof props.value === 'string' ? JSON.parse(props.value || '{}') : props.value ?? {};
  const gif = /\.gif$/i.test(data.made ?? '');
  $('.player').hidden = !data.made;
  $('.source').hidden = !data.source;
  made.hidden = gif; still.hidden = !gif;
  put(source, data.source);
  put(made, gif ? null : data.made);
  if (gif) { still.src = url(data.made); still.alt = data.says; } else still.removeAttribute('src');
  $('.source figcaption').textContent = data.of_source ?? '';
  $('.made figcaption').textContent = data.says ?? '';
  source.setAttribute('aria-label', data.of_source ?? ''); made.setAttribute('aria-label', data.says ?? '');
  if (data.made) Object.assign($('.save'), {href: url(data.made), download: data.name});
}

// What was made leads; its source keeps step with it.
made.addEventListener('play', () => { if (source.src) source.play().catch(() => {}); });
made.addEventListener('pause', () => { if (!made.ended) source.pause(); });
made.addEventListener('timeupdate', () => {
  if (source.src && Math.abs(source.currentTime - made.currentTime) > 0.15) source.currentTime = made.currentTime;
});
watch('value', update);
update();

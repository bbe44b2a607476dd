() => {
  const status = document.getElementById('status');
  if (status) { status.setAttribute('role', 'status'); status.setAttribute('aria-live', 'polite'); }
  // Sliders act on the browser's `change` event (mouse, touch, key or typed number). Gradio's own events also fire when
  // a number field merely gains or loses focus, and never for keys.
  const ofSlider = target => target.matches?.('.slider_input_container input, [data-testid="number-input"]');
  for (const kind of ['blur', 'pointerup'])
    document.addEventListener(kind, event => {
      if (event.isTrusted && ofSlider(event.target)) event.stopPropagation();
    }, true);
  document.addEventListener('change', ({target}) => {
    if (!ofSlider(target)) return;
    const kind = target.type === 'number' ? 'blur' : 'pointerup';  // the former also keeps the number in its range
    target.dispatchEvent(new Event(kind, {bubbles: kind === 'pointerup'}));
  });
  const words = TOOLTIPS;
  // A group of buttons is one tab stop; arrow keys walk in it (ARIA's toolbar pattern). Tabs are built when they are
  // first opened, so events are heard where they bubble to.
  const groups = '.roving, .viewer .tools';
  const settle = (group, chosen) => {
    group.setAttribute('role', 'toolbar');
    for (const one of group.querySelectorAll('button')) one.tabIndex = one === chosen ? 0 : -1;
  };
  for (const group of document.querySelectorAll(groups)) settle(group, group.querySelector('button'));
  const explain = ({target}) => {
    const part = target.closest?.('.unit[id]');
    if (part && words[part.id]) part.setAttribute('title', words[part.id]);
  };
  // Gradio's upload areas have a name that lacks the words in them; without it those words are their name.
  const named = () => {
    for (const area of document.querySelectorAll('.upload-container[aria-label]')) area.removeAttribute('aria-label');
    // And its pictures in galleries are called by their number, and say twice what is written on them.
    for (const one of document.querySelectorAll('.thumbnail-item[aria-label]:has(.caption-label)')) {
      one.removeAttribute('aria-label');
      one.querySelector('img')?.setAttribute('alt', '');
    }
  };
  new MutationObserver(named).observe(document.body, {childList: true, subtree: true});
  named();
  document.addEventListener('pointerover', explain);
  document.addEventListener('focusin', event => {
    explain(event);
    const group = event.target.matches('button') && event.target.closest(groups);
    if (group) settle(group, event.target);
  });
  document.addEventListener('keydown', event => {
    const group = event.target.matches?.('button') && event.target.closest(groups);
    if (!group) return;
    const all = [...group.querySelectorAll('button')].filter(one => !one.hidden), at = all.indexOf(event.target);
    const next = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1};
    if (at < 0 || !(event.key in next)) return;
    event.preventDefault();
    all.at(next[event.key] % all.length).focus();
  });
}

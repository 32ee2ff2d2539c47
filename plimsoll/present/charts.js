// Lays out what is far away once the page is there, some at a time: a page opens at once, and yet nothing is missing to
// those who have it read aloud, for whom a browser has only what it has laid out.
const plimsollLayOut = (waiting, atOnce) => {
  const later = window.requestIdleCallback ?? ((call) => setTimeout(call, 20));
  const some = () => {
    for (const one of waiting.splice(0, atOnce)) { one.classList.add('plimsoll-laid-out'); }
    if (waiting.length) { later(some, { timeout: 100 }); }
  };
  later(some, { timeout: 100 });
};
addEventListener('load', () => { plimsollLayOut([...document.querySelectorAll('.plimsoll-bars')], 1); });

// What charts have beyond their drawing: a larger tooltip that keyboards and fingers reach too, and buttons that sort
// rows. Text goes into the page as text alone.
document.addEventListener('DOMContentLoaded', () => {
  const tip = document.body.appendChild(document.createElement('div'));
  tip.className = 'plimsoll-tip';
  tip.setAttribute('role', 'status');
  tip.hidden = true;
  const put = (row, words, left) => {
    tip.textContent = row.firstChild.textContent + words;
    tip.style.left = 0; // near the right edge it would be as narrow as what is left there
    tip.style.left = Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8)) + 'px';
    const place = row.querySelector('svg').getBoundingClientRect();
    const below = place.bottom + 4;
    tip.style.top = (below + tip.offsetHeight > innerHeight ? place.top - tip.offsetHeight - 4 : below) + 'px';
  };

  // A chart over time tells what it has at one sample. Its paths are milliseconds and thousandths of its unit, with a
  // minus between: lines join samples, levels go from the left edge to the right one, bands lie below.
  const moment = document.createElement('i');
  const digits = (thousandths) => Number((thousandths / 1000).toPrecision(3)).toLocaleString('en');
  const tracesOf = (chart) => [...chart.querySelectorAll('path')].map((path) => {
    const pairs = (pattern) => [...path.getAttribute('d').matchAll(pattern)].map((found) => found.slice(1).map(Number));
    const [level] = pairs(/^M0-(\d+)H/g);
    return {
      name: path.getAttribute('class'), level,
      samples: level ? [] : pairs(/(\d+)-(\d+)/g), stretches: pairs(/M(\d+) \d+H(\d+)/g),
    };
  });
  const nearest = (samples, time) => samples.reduce(
    (best, one) => (Math.abs(one[0] - time) < Math.abs(best[0] - time) ? one : best),
  );
  const showAt = (chart, time) => {
    const traces = tracesOf(chart);
    const samples = traces.flatMap((trace) => trace.samples);
    if (!samples.length) { return; }
    const [at] = nearest(samples, time);
    const figure = (value) => digits(value) + ' ' + chart.dataset.unit;
    const words = traces.flatMap(({ name, level, samples: own, stretches }) => {
      if (level) { return [name + ' ' + figure(level[0])]; }
      if (!own.length) { return stretches.some(([start, end]) => start <= at && at <= end) ? [name] : []; }
      const [when, value] = nearest(own, at);
      return [name + ' ' + figure(value) + (when === at ? '' : ' at ' + digits(when) + ' s')];
    });
    const svg = chart.querySelector('svg');
    moment.style.left = 100 * at / svg.viewBox.baseVal.width + '%';
    svg.parentElement.append(moment);
    chart.dataset.at = at;
    put(chart, ' at ' + digits(at) + ' s: ' + words.join(', '), moment.getBoundingClientRect().left);
  };
  const show = ({ target, clientX }) => {
    const row = target.closest?.('.plimsoll-bars li, .plimsoll-lines');
    tip.hidden = !row;
    moment.remove();
    if (!row) { return; }
    // The browser's own tooltip would stand beside ours.
    const title = row.querySelector('title');
    if (title) { row.dataset.tip = title.textContent; title.remove(); }
    const svg = row.querySelector('svg');
    const { left, width } = svg.getBoundingClientRect();
    put(row, ': ' + row.dataset.tip, left);
    if (row.matches('.plimsoll-lines') && clientX !== undefined) {
      showAt(row, (clientX - left) / width * svg.viewBox.baseVal.width);
    }
  };
  document.addEventListener('pointerover', show);
  document.addEventListener('pointermove', (event) => { if (event.target.closest?.('.plimsoll-lines')) { show(event); } });
  document.addEventListener('focusin', show);
  // A keyboard that goes to a row out of sight scrolls the page: the row keeps its tooltip.
  document.addEventListener('scroll', () => { show({ target: document.activeElement }); }, { passive: true });
  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (key === 'Escape') { tip.hidden = true; moment.remove(); }
    const way = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!way || !target.matches('.plimsoll-lines')) { return; }
    event.preventDefault();
    const times = tracesOf(target).flatMap(({ samples }) => samples.map(([at]) => at)).sort((one, other) => one - other);
    const at = Number(target.dataset.at ?? -1);
    const next = way > 0 ? times.find((time) => time > at) : times.findLast((time) => time < at);
    tip.hidden = false;
    showAt(target, next ?? Math.max(at, 0));
  });

  for (const chart of document.querySelectorAll('.plimsoll-lines')) { chart.tabIndex = 0; }

  const room = (row) => Number(row.dataset.r ?? Infinity);
  const byRoom = (rows) => [...rows].sort((one, other) => room(one) - room(other));
  const byName = (rows) => [...rows].sort(
    (one, other) => one.firstChild.textContent.localeCompare(other.firstChild.textContent, 'en', { numeric: true }),
  );
  for (const chart of document.querySelectorAll('.plimsoll-bars')) {
    const list = chart.querySelector('ol');
    const rows = [...list.children];
    // The larger tooltip is what a keyboard goes there for.
    for (const row of rows) { row.tabIndex = 0; }
    if (rows.length < 3) { continue; }
    const box = document.createElement('div');
    box.className = 'plimsoll-sort';
    const { order: asMade, ranked } = chart.dataset;
    const isRanked = rows.some((row) => row.dataset.r !== undefined);
    const orders = [[asMade, (all) => all], ...(isRanked ? [[ranked, byRoom]] : []), ['by name', byName]];
    for (const [title, order] of orders) {
      const button = box.appendChild(document.createElement('button'));
      button.type = 'button';
      button.textContent = title;
      button.setAttribute('aria-pressed', String(title === asMade));
      button.addEventListener('click', () => {
        for (const one of box.children) { one.setAttribute('aria-pressed', String(one === button)); }
        list.append(...order(rows));
      });
    }
    chart.prepend(box);
  }

  // A link to something that is folded unfolds it.
  const unfold = () => {
    const found = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (found instanceof HTMLDetailsElement) { found.open = true; }
  };
  addEventListener('hashchange', unfold);
  unfold();
});

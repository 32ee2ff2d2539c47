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
  const show = ({ target }) => {
    const row = target.closest?.('.plimsoll-bars li');
    tip.hidden = !row;
    if (!row) { return; }
    // The browser's own tooltip would stand beside ours.
    const title = row.querySelector('title');
    if (title) { row.dataset.tip = title.textContent; title.remove(); }
    tip.textContent = row.firstChild.textContent + ': ' + row.dataset.tip;
    const place = row.querySelector('svg').getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 8)) + 'px';
    const below = place.bottom + 4;
    tip.style.top = (below + tip.offsetHeight > innerHeight ? place.top - tip.offsetHeight - 4 : below) + 'px';
  };
  document.addEventListener('pointerover', show);
  document.addEventListener('focusin', show);
  // A keyboard that goes to a row out of sight scrolls the page: the row keeps its tooltip.
  document.addEventListener('scroll', () => { show({ target: document.activeElement }); }, { passive: true });
  document.addEventListener('keydown', ({ key }) => { if (key === 'Escape') { tip.hidden = true; } });

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

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
  document.addEventListener('scroll', () => { tip.hidden = true; }, { passive: true });
  document.addEventListener('keydown', ({ key }) => { if (key === 'Escape') { tip.hidden = true; } });

  const room = (row) => Number(row.dataset.r ?? Infinity);
  // Rows come with the largest first.
  const orders = {
    'largest first': (rows) => rows,
    'closest to the limit first': (rows) => [...rows].sort((one, other) => room(one) - room(other)),
    'by name': (rows) => [...rows].sort(
      (one, other) => one.firstChild.textContent.localeCompare(other.firstChild.textContent, 'en'),
    ),
  };
  for (const chart of document.querySelectorAll('.plimsoll-bars')) {
    const list = chart.querySelector('ol');
    const rows = [...list.children];
    if (rows.length < 3) { continue; }
    const box = document.createElement('div');
    box.className = 'plimsoll-sort';
    for (const [title, order] of Object.entries(orders)) {
      const button = box.appendChild(document.createElement('button'));
      button.type = 'button';
      button.textContent = title;
      button.setAttribute('aria-pressed', String(title === 'largest first'));
      button.addEventListener('click', () => {
        for (const one of box.children) { one.setAttribute('aria-pressed', String(one === button)); }
        list.append(...order(rows));
      });
    }
    chart.prepend(box);
  }
});

// Finds checks and variants by text, and a check by its link. What does not match is hidden and counted; failures that
// are hidden are told, with a button that brings them back. Text is compared and shown as text alone.
document.addEventListener('DOMContentLoaded', () => {
  const nav = document.querySelector('.plimsoll-contents');
  if (!nav) { return; }
  const made = (parent, name, words = {}) => Object.assign(parent.appendChild(document.createElement(name)), words);
  const wide = matchMedia('(min-width: 1400px)');
  const fold = nav.querySelector('details');
  const unfold = () => { fold.open = wide.matches; };
  wide.addEventListener('change', unfold);
  unfold();

  const box = document.createElement('div');
  box.className = 'plimsoll-find';
  box.setAttribute('role', 'search');
  nav.prepend(box);
  const input = made(box, 'input', { type: 'search', placeholder: 'Search checks and variants', autocomplete: 'off' });
  input.setAttribute('aria-label', 'Search checks and variants; press / to get here');
  const told = made(box, 'div');
  told.setAttribute('role', 'status');
  const back = made(box, 'button', { type: 'button', textContent: 'Show them', hidden: true });
  let keepsFailures = false;

  const texts = new WeakMap();
  const textOf = (row) => {
    if (!texts.has(row)) {
      texts.set(row, (row.textContent + ' ' + row.id).toLowerCase());
    }
    return texts.get(row);
  };
  const counted = (kinds) => kinds.reduce((sum, kind) => {
    const label = document.querySelector('.filters span.' + kind);
    return sum + (label ? parseInt(label.textContent.replace(/\D/g, ''), 10) || 0 : 0);
  }, 0);
  const number = (count) => count.toLocaleString('en');
  const isFailure = (row) => row.matches('.failed, .error, .xpassed');
  const rows = () => [...document.querySelectorAll('#results-table tbody[id]')];
  const opened = new Set();

  let wasNarrowed = false;
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => words.every((word) => textOf(row).includes(word));
    const hide = (row, isHidden) => row.classList.toggle('plimsoll-off', isHidden);
    // A page with thousands of rows opens faster where none is looked at.
    if (words.length || wasNarrowed) {
      for (const row of rows()) { hide(row, !fits(row) && !(keepsFailures && isFailure(row))); }
    }
    wasNarrowed = words.length > 0;
    const shown = document.querySelectorAll('#results-table tbody[id]:not(.plimsoll-off)').length;
    const failures = document.querySelectorAll(
      '#results-table tbody[id]:is(.failed, .error, .xpassed):not(.plimsoll-off)',
    ).length;
    const variants = [...document.querySelectorAll('.plimsoll-wide[aria-label^="Variants"] tbody tr')];
    for (const row of [...variants, ...document.querySelectorAll('.plimsoll-bars li')]) { hide(row, !fits(row)); }
    for (const one of opened) { one.open = false; }
    opened.clear();
    for (const one of document.querySelectorAll('#variants details, #by-model details')) {
      hide(one, words.length > 0 && !fits(one));
      if (words.length && fits(one) && !one.open) { one.open = true; opened.add(one); }
    }
    const all = counted(['passed', 'skipped', 'failed', 'error', 'xfailed', 'xpassed', 'rerun']);
    const failed = counted(['failed', 'error', 'xpassed']);
    const named = variants.filter((row) => !row.classList.contains('plimsoll-off')).length;
    const some = variants.length ? ', ' + number(named) + ' of ' + number(variants.length) + ' variants' : '';
    const isNarrowed = words.length > 0 || shown < all;
    told.textContent = isNarrowed ? number(shown) + ' of ' + number(all) + ' checks shown' + some : '';
    const lacking = failed - failures;
    if (lacking > 0) {
      made(told, 'strong', { textContent: ' ' + number(lacking) + ' of ' + number(failed) + ' failures not among them. ' });
    }
    back.hidden = lacking <= 0;
  };
  const linked = () => {
    for (const link of document.querySelectorAll('#results-table .col-testId a')) {
      link.href = '#' + encodeURIComponent(link.closest('tbody').id);
    }
    apply();
  };
  const tickAll = () => {
    for (const one of document.querySelectorAll('input.filter:not(:checked):not(:disabled)')) { one.click(); }
  };
  input.addEventListener('input', () => { keepsFailures = false; apply(); });
  back.addEventListener('click', () => { keepsFailures = true; tickAll(); apply(); input.focus(); });
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target.matches('input, textarea, select');
    if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
    } else if (event.key === 'Escape' && event.target === input) {
      input.value = '';
      apply();
    }
  });
  document.addEventListener('pointerover', ({ target }) => {
    if (target.matches('#results-table .col-testId a')) { target.title = target.closest('tbody').id; }
  });
  // A link in a row leads somewhere; the row shall not fold besides.
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('.collapsible td a')) { event.stopPropagation(); }
  }, true);

  const reveal = () => {
    let name = location.hash.slice(1);
    try { name = decodeURIComponent(name); } catch { return; }
    if (!name) { return; }
    if (!document.getElementById(name)) { tickAll(); }
    let found = document.getElementById(name);
    if (!found) { return; }
    if (found.closest('.plimsoll-off')) { input.value = ''; apply(); }
    for (let one = found.closest('details'); one; one = one.parentElement.closest('details')) { one.open = true; }
    const cell = found.querySelector('td.col-result');
    if (cell && cell.classList.contains('collapsed') && found.querySelector('.log')) {
      cell.click();
      found = document.getElementById(name);
    }
    document.querySelector('.plimsoll-here')?.classList.remove('plimsoll-here');
    found.classList.add('plimsoll-here');
    found.scrollIntoView();
    found.querySelector('td.col-result')?.focus({ preventScroll: true });
  };
  addEventListener('hashchange', reveal);
  // On paper nothing unfolds any more; charts of very many variants would fill a book.
  const onPaper = '[aria-label="What failed"] details, .plimsoll-tile details, .plimsoll-tiles ~ details, '
    + '[id^=metric-]:not(:has(li:nth-child(41)))';
  const unfolded = new Set();
  addEventListener('beforeprint', () => {
    for (const one of document.querySelectorAll(onPaper)) {
      if (!one.open) { one.open = true; unfolded.add(one); }
    }
    // A model that did not load fails all of its checks in the same words, which would fill pages: once is enough.
    const said = new Map();
    for (const row of rows().filter(isFailure)) {
      const log = row.querySelector('.log');
      const text = log ? log.textContent.trim() : '';
      if (said.has(text)) {
        log.parentElement.dataset.same = 'The same as of ' + said.get(text);
      } else if (text) {
        said.set(text, row.id);
      }
    }
  });
  addEventListener('afterprint', () => {
    for (const one of unfolded) { one.open = false; }
    unfolded.clear();
    for (const one of document.querySelectorAll('[data-same]')) { delete one.dataset.same; }
  });

  // pytest-html draws its table anew whenever it is sorted, filtered or unfolded.
  new MutationObserver((changes) => {
    if (changes.some(({ addedNodes }) => [...addedNodes].some((one) => one.id === 'results-table'))) { linked(); }
  }).observe(document.body, { childList: true });
  linked();
  reveal();
});

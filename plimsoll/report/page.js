// What pytest-html's rows lack for those who use a keyboard. It reads nothing but classes and the labels of pytest-html
// itself, so that no text of a model comes near it.
document.addEventListener('DOMContentLoaded', () => {
  for (const box of document.querySelectorAll('input.filter')) {
    box.setAttribute('aria-label', 'Show ' + box.nextElementSibling.textContent.replace(/,/g, ''));
  }
  const told = (cell) => cell.setAttribute('aria-expanded', String(!cell.classList.contains('collapsed')));
  document.addEventListener('focusin', ({ target }) => { if (target.matches('td.col-result')) { told(target); } });
  document.addEventListener('keydown', (event) => {
    const cell = event.target;
    if (!cell.matches('td.col-result') || (event.key !== 'Enter' && event.key !== ' ')) { return; }
    event.preventDefault();
    const row = cell.parentElement.dataset.id;
    cell.click();
    // The table was drawn anew: stay on the row.
    document.querySelector('tr[data-id="' + row + '"] td.col-result').focus();
  });
});

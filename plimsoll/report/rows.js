// The rows of pytest-html, which it draws anew whenever they are sorted, filtered or unfolded.
addEventListener('load', () => {
  const wait = () => { plimsollLayOut([...document.querySelectorAll('#results-table tbody')], 100); };
  new MutationObserver((changes) => {
    if (changes.some(({ addedNodes }) => [...addedNodes].some((one) => one.id === 'results-table'))) { wait(); }
  }).observe(document.body, { childList: true });
  wait();
});

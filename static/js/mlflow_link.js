/* The addresses that MLflow's client prints, <plane>/#/experiments/1/runs/<id>: what stands behind # never reaches a
   server, so the page at the root, and the log-in that it may lead to, ask for what it names. */
(() => {
  const root = document.currentScript.dataset.root;
  const LINK = /^#\/(experiments\/[0-9]{1,9}(?:\/(?:runs\/[0-9a-f]{32}|models\/m-[0-9a-f]{32}))?)(?:[/?].*)?$/;
  function follow() {
    const found = LINK.exec(location.hash);
    if (found) location.replace(`${root}tracked/${found[1]}`);
  }
  window.addEventListener("hashchange", follow);
  follow();
})();

// A security key that does not answer (cancelled, wrong key, no secure context): say so on the page.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  for (const note of document.querySelectorAll("[data-key-error]")) note.hidden = false;
});

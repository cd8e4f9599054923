// Search, filters and links of the failures. The page reads well without it.
(() => {
  const cards = [...document.querySelectorAll("details.failure")];

  const open = () => {
    const target = document.querySelector(":target");
    const card = target && target.closest("details.failure");
    if (!card) return;
    card.hidden = false;
    card.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = cards.filter((card) => !card.open);
    opened.forEach((card) => { card.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((card) => { card.open = false; }));

  const form = document.querySelector("form.filters");
  if (!form) return;
  form.hidden = false;
  const field = (id) => document.getElementById(id);
  const words = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
  const has = (list, value) => !value || (list || "").split("\n").includes(value);

  const apply = () => {
    const wanted = field("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const { mode, verdict, tags, checks } = card.dataset;
      const fits =
        has(mode, field("by-mode").value) &&
        has(verdict, field("by-verdict").value) &&
        has(tags, field("by-tag").value) &&
        has(checks, field("by-check").value) &&
        wanted.every((word) => words.get(card).includes(word));
      card.hidden = !fits;
      shown += fits;
    }
    field("found").textContent = shown === cards.length ? `${shown} shown` : `${shown} of ${cards.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply)); // the fields are empty only after the event
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("a[data-check]")) {
    link.addEventListener("click", () => { form.reset(); field("by-check").value = link.dataset.check; apply(); });
  }
  const each = (to) => cards.forEach((card) => { if (!card.hidden) card.open = to; });
  field("open-all").addEventListener("click", () => each(true));
  field("close-all").addEventListener("click", () => each(false));
  apply();
})();

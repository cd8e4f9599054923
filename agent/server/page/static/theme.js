// Runs before the first paint, so that a chosen theme does not flash in.
(() => {
  try {
    const theme = localStorage.getItem("sayso.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // storage is closed to this page: the system decides
  }
})();

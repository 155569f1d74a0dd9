(note, ...results) => {
  // After work that did not come to its end: a note, and the results without what was on its way.
  // A mistake that a message explains needs no note unless something was on its way. What is stopped may fail, too: the
  // first note stays.
  let going = STOPPED;
  const left = results.map((html) => {
    const page = document.createElement("template");
    page.innerHTML = html ?? "";
    const running = page.content.querySelectorAll(".running");
    if (!running.length) return html;
    going = true;
    running.forEach((one) => one.classList.remove("running"));
    page.content.querySelectorAll(".passing, .tile.waiting, .tile.coming").forEach((one) => one.remove());
    return page.innerHTML;
  });
  return [note || (going ? NOTE : ""), ...left];
}

// On the evidence: two pictures beside each other while the pointer is on their cell of the matrix.
element.addEventListener("pointerover", (event) => {
  const cell = event.target.closest(".cell"), shown = element.querySelector(".pair");
  if (!cell || !shown) return;
  const images = document.querySelectorAll("#pictures .tile img"), { row, column, value } = cell.dataset;
  if (row === column || !images[row - 1] || !images[column - 1]) return;
  const close = cell.classList.contains("weak") ? "too unlike for two pictures of one person" : "";
  shown.replaceChildren(images[row - 1].cloneNode(), images[column - 1].cloneNode(),
    document.createTextNode(`Pictures ${row} and ${column}: ${value}${close && " – " + close}`));
});

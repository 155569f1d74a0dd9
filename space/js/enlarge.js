// On pictures: a click shows one alone.
element.addEventListener("click", (event) => {
  const image = event.target.closest(".open")?.querySelector("img");
  if (!image) return;
  const dialog = document.createElement("dialog");
  dialog.className = "lightbox";
  dialog.setAttribute("aria-label", image.alt);
  const large = document.createElement("img");
  large.src = image.src; large.alt = image.alt;
  const said = document.createElement("p");
  said.textContent = image.alt;
  dialog.append(large, said);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
});

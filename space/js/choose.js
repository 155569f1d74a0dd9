// On a photo of several people: a click on a face, or its button, takes that one. Only the page still has the photo.
element.addEventListener("click", (event) => {
  const photo = element.querySelector("[data-photo]"), button = event.target.closest("[data-x]");
  if (!photo || !(button || event.target === photo)) return;
  let x = Number(button?.dataset.x), y = Number(button?.dataset.y);
  if (!button) {
    const box = photo.getBoundingClientRect(), { naturalWidth: width, naturalHeight: height } = photo;
    const scale = Math.min(box.width / width, box.height / height);  // it is shown whole, with room beside it
    x = 0.5 + (event.clientX - box.left - box.width / 2) / (width * scale);
    y = 0.5 + (event.clientY - box.top - box.height / 2) / (height * scale);
    if (x < 0 || x > 1 || y < 0 || y > 1) return;
  }
  trigger("select", { photo: photo.dataset.photo, x, y });
});

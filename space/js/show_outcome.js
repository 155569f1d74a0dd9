() => {
  // On a phone the pictures are further down than the button.
  if (innerWidth < 860) [...document.querySelectorAll(".outcome")].find((one) => one.offsetParent)
    ?.scrollIntoView({ behavior: "smooth", block: "start" });
}

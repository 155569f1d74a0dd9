// On the masthead: light or dark.
element.querySelector(".theme").addEventListener("click", () => document.body.classList.toggle("dark"));

() => {
  // A link that says who is shown presses its tab's button.
  const buttons = BUTTONS, asked = new URLSearchParams(location.search);
  const press = () => document.querySelector(buttons[asked.get("tab")] ?? "#generate")?.click();
  if (asked.has("person")) setTimeout(press, 50);
  setTimeout(() => { document.documentElement.dataset.opened = "yes"; }, 100);  // what the link says is in the fields
}

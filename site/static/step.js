// Steps through the pictures of a task one at a time, in one place and at one size: buttons, or the arrow keys.
// Without it they are all there, side by side.
"use strict";

(function () {
  const galleries = Array.from(document.querySelectorAll(".gallery[data-kind]"))
    .filter((one) => one.children.length > 2);
  if (!galleries.length) return;
  const make = (tag, name, text) => Object.assign(document.createElement(tag), { className: name || "", textContent: text || "" });
  const stepper = make("section", "stepper");
  stepper.setAttribute("aria-label", "Pictures one at a time");
  const bar = make("div", "filters");
  const back = make("button", "", "← Previous"), next = make("button", "", "Next →");
  back.type = next.type = "button";
  const kinds = make("select"), methods = make("select");
  const label = function (words, select) { const one = make("label", "", words); one.append(select); return one; };
  galleries.forEach((one, i) => kinds.append(new Option(one.dataset.kind, String(i))));
  const frame = make("a", "frame"), image = make("img"), said = make("p", "small");
  said.setAttribute("aria-live", "polite");
  frame.append(image);
  bar.append(back, next, label("of", kinds), label("method", methods));
  stepper.append(bar, frame, said);
  let figures = [], at = 0;

  function choose() {
    const name = methods.selectedOptions.length ? methods.selectedOptions[0].text : "";
    figures = Array.from(galleries[Number(kinds.value)].children);
    const names = figures.map((one) => one.dataset.called);
    methods.replaceChildren(...names.map((one, i) => new Option(one, String(i))));
    // All at the height of the highest, so that a place is the same place in each.
    const most = (side) => Math.max(...figures.map((one) => Number(one.querySelector("img").getAttribute(side)) || 1));
    frame.style.aspectRatio = most("width") + " / " + most("height");
    show(Math.max(0, names.indexOf(name)));
  }

  function show(place) {
    at = (place + figures.length) % figures.length;
    const shown = figures[at].querySelector("img");
    image.src = shown.getAttribute("src");
    image.alt = shown.alt;
    frame.href = figures[at].querySelector("a").getAttribute("href");
    methods.value = String(at);
    said.textContent = (at + 1) + " of " + figures.length + ": " + methods.selectedOptions[0].text;
  }

  back.addEventListener("click", () => show(at - 1));
  next.addEventListener("click", () => show(at + 1));
  kinds.addEventListener("change", choose);
  methods.addEventListener("change", () => show(Number(methods.value)));
  stepper.addEventListener("keydown", function (event) {
    if (event.target.tagName === "SELECT" || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    show(at + (event.key === "ArrowRight" ? 1 : -1));
  });
  galleries[0].closest("details").before(stepper);
  // The pictures are those of the page: none is fetched before the reader comes near.
  image.loading = "lazy";
  choose();
})();

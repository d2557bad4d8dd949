// Searches the words of this site in the browser: the index came with the page, and nothing is sent anywhere.
"use strict";

(function () {
  const form = document.getElementById("search");
  const field = form.querySelector("input");
  const list = document.getElementById("found");
  const said = document.getElementById("said");
  const MOST = 20;
  form.hidden = false;

  function hits(words) {
    const made = [];
    for (const entry of INDEX) {
      const [title, heading, text] = [entry.t, entry.h, entry.x].map((part) => part.toLowerCase());
      let score = 0;
      for (const word of words) {
        const times = text.split(word).length - 1;
        const here = 8 * title.includes(word) + 5 * heading.includes(word) + Math.min(times, 5);
        if (!here) { score = 0; break; }
        score += here;
      }
      if (score) made.push([score, entry]);
    }
    return made.sort((a, b) => b[0] - a[0]).map((pair) => pair[1]);
  }

  function snippet(entry, words) {
    const p = document.createElement("p");
    p.className = "small";
    const at = Math.max(0, entry.x.toLowerCase().indexOf(words[0]) - 70);
    const text = (at ? "… " : "") + entry.x.slice(at, at + 230) + (entry.x.length > at + 230 ? " …" : "");
    const pattern = new RegExp("(" + words.map((w) => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "i");
    text.split(pattern).forEach(function (part, i) {
      if (i % 2) {
        const mark = document.createElement("mark");
        mark.textContent = part;
        p.append(mark);
      } else p.append(part);
    });
    return p;
  }

  function search() {
    const words = field.value.toLowerCase().split(/\s+/).filter((word) => word.length > 1);
    list.replaceChildren();
    const found = words.length ? hits(words) : [];
    for (const entry of found.slice(0, MOST)) {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = entry.u;
      link.textContent = entry.t + (entry.h ? ": " + entry.h : "");
      item.append(link, snippet(entry, words));
      list.append(item);
    }
    said.textContent = words.length ? found.length + (found.length === 1 ? " section" : " sections") : "";
    history.replaceState(null, "", field.value ? "#q=" + encodeURIComponent(field.value) : location.pathname + location.search);
  }

  field.addEventListener("input", search);
  form.addEventListener("submit", function (event) { event.preventDefault(); search(); });
  if (location.hash.startsWith("#q=")) {
    field.value = decodeURIComponent(location.hash.slice(3));
    search();
  }
})();

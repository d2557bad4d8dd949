// The page of claims: shows those with one verdict, or of one paper. Without it all of them are there.
// The choice is kept in the address after "#?".
"use strict";

(function () {
  const rows = Array.from(document.querySelectorAll("table.claims tbody tr"));
  const place = document.getElementById("choose");
  if (!rows.length) return;
  const keys = ["verdict", "paper"];
  const selects = {};
  for (const key of keys) {
    const select = document.createElement("select");
    select.name = key;
    select.append(new Option("all", ""));
    for (const value of new Set(rows.map((row) => row.dataset[key]))) select.append(new Option(value));
    const label = document.createElement("label");
    label.append(key, select);
    select.addEventListener("change", function () {
      const chosen = new URLSearchParams();
      for (const key of keys) if (selects[key].value) chosen.set(key, selects[key].value);
      const text = chosen.toString();
      history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search);
      show();
    });
    selects[key] = select;
    place.append(label);
  }
  const count = document.createElement("output");
  count.className = "small muted";
  place.append(count);
  place.hidden = false;

  function show() {
    for (const row of rows) {
      row.hidden = keys.some((key) => selects[key].value && selects[key].value !== row.dataset[key]);
    }
    for (const part of document.querySelectorAll("section.claimed")) {
      part.hidden = !part.querySelector("tbody tr:not([hidden])");
    }
    count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " claims";
  }

  function follow() {
    const asked = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
    for (const key of keys) {
      const known = Array.from(selects[key].options, (option) => option.value);
      selects[key].value = known.includes(asked.get(key)) ? asked.get(key) : "";
    }
    show();
  }

  window.addEventListener("hashchange", follow);
  follow();
})();

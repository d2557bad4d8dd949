// The page that compares: shows the columns of the methods that the address names, "compare.html#meg,wgan-gp".
// Without it all columns are there.
"use strict";

(function () {
  const table = document.querySelector("table.compare");
  const place = document.getElementById("choose");
  const heads = Array.from(table.tHead.rows[0].cells).slice(1);
  const names = heads.map((head) => head.dataset.method);
  const titles = new Map(heads.map((head) => [head.dataset.method, head.textContent.trim()]));
  const MOST = 3;
  const selects = [];

  for (let i = 0; i < MOST; i++) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    if (i > 1) select.append(new Option("none", ""));
    for (const name of names) select.append(new Option(titles.get(name), name));
    select.addEventListener("change", function () {
      const chosen = Array.from(new Set(selects.map((one) => one.value).filter(Boolean)));
      history.replaceState(null, "", "#" + chosen.map(encodeURIComponent).join(","));
      show(chosen);
    });
    label.append(["first", "second", "third"][i], select);
    selects.push(select);
    place.append(label);
  }
  place.hidden = false;

  function show(chosen) {
    selects.forEach(function (select, i) { select.value = chosen[i] || (i > 1 ? "" : names[i]); });
    for (const row of table.rows) {
      const cells = new Map(Array.from(row.cells).map((cell) => [cell.dataset.method, cell]));
      for (const name of names) cells.get(name).hidden = !chosen.includes(name);
      // In the order in which they were asked for.
      for (const name of chosen) row.append(cells.get(name));
      const ranks = chosen.map((name) => Number(cells.get(name).dataset.rank || Infinity));
      const best = Math.min(...ranks);
      chosen.forEach(function (name, i) {
        const ahead = best < Infinity && ranks[i] === best && ranks.some((rank) => rank > best && rank < Infinity);
        cells.get(name).classList.toggle("ahead", ahead);
      });
    }
  }

  function asked() {
    const wanted = location.hash.slice(1).split(",").map(decodeURIComponent).filter((name) => names.includes(name));
    const chosen = Array.from(new Set(wanted)).slice(0, MOST);
    for (const name of names) if (chosen.length < 2 && !chosen.includes(name)) chosen.push(name);
    show(chosen);
  }
  window.addEventListener("hashchange", asked);
  asked();
})();

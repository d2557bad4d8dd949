// A task's page: sorting, filters and a chooser of columns for its table, and a picker of lines for its charts.
// Without it the tables are whole and in the order of the ranks. The state is kept in the address after "#?",
// which works from a file as well as from a server.
"use strict";

(function () {
  const board = document.querySelector("table.board");
  if (!board) return;
  const keys = ["family", "budget", "protocol", "sampler", "tier", "source"];
  const rows = Array.from(board.querySelectorAll("tbody tr[data-budget]"));
  const heads = Array.from(board.tHead.rows[0].cells);
  const order = new Map(rows.map((row, i) => [row, i]));
  const state = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");

  function shown(value) { return value === "" ? "none" : value; }

  // A method may belong to several families.
  function of(row, key) { return key === "family" ? row.dataset[key].split(" ") : [row.dataset[key]]; }

  const bar = document.createElement("form");
  bar.className = "filters";
  bar.setAttribute("aria-label", "Filter the table");
  const selects = {};
  for (const key of keys) {
    const values = Array.from(new Set(rows.flatMap((row) => of(row, key)))).sort();
    if (values.length < 2) continue;
    const select = document.createElement("select");
    select.name = key;
    select.append(new Option("all", "*"));
    for (const value of values) select.append(new Option(shown(value), value));
    if (state.has(key) && values.includes(state.get(key))) select.value = state.get(key);
    const label = document.createElement("label");
    label.append(key, select);
    select.addEventListener("change", update);
    selects[key] = select;
    bar.append(label);
  }
  if (bar.childElementCount) {
    const clear = document.createElement("button");
    clear.type = "button";
    clear.textContent = "Clear";
    clear.addEventListener("click", function () {
      for (const select of Object.values(selects)) select.value = "*";
      state.delete("sort");
      state.delete("down");
      update();
    });
    bar.append(clear);
    const count = document.createElement("output");
    count.className = "small muted";
    bar.append(count);
    board.closest(".scroll").before(bar);
  }

  // The columns that few need are hidden until they are chosen.
  const hideable = heads.filter((head) => head.classList.contains("more") && head.dataset.key);
  const chosen = new Set((state.get("cols") || "").split(",").filter(Boolean));
  if (hideable.length) {
    board.classList.add("few");
    const chooser = document.createElement("details");
    chooser.className = "chooser";
    const summary = document.createElement("summary");
    summary.textContent = "More columns (" + hideable.length + ")";
    const choices = document.createElement("div");
    for (const head of hideable) {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = chosen.has(head.dataset.key);
      // "published" and "difference" are of the metric to their left.
      const of = heads[heads.indexOf(head) - (head.dataset.key.endsWith("-difference") ? 2 : 1)];
      const part = /-(published|difference)$/.test(head.dataset.key);
      const name = (cell) => cell.querySelector("span").textContent;
      label.append(box, " " + (part ? name(of) + ": " : "") + name(head));
      box.addEventListener("change", function () {
        if (box.checked) chosen.add(head.dataset.key); else chosen.delete(head.dataset.key);
        update();
      });
      choices.append(label);
    }
    chooser.append(summary, choices);
    board.closest(".scroll").before(chooser);
  }

  function showColumns() {
    heads.forEach(function (head, i) {
      if (!hideable.includes(head)) return;
      const shown = chosen.has(head.dataset.key);
      for (const cells of [head.parentElement.cells, ...rows.map((row) => row.cells)]) {
        cells[i].classList.toggle("shown", shown);
      }
    });
    if (chosen.size) state.set("cols", Array.from(chosen).join(",")); else state.delete("cols");
  }

  heads.forEach(function (head) {
    if (!head.dataset.key) return;
    const button = document.createElement("button");
    button.type = "button";
    const words = head.querySelector("span");
    words.replaceWith(button);
    button.append(words);
    button.addEventListener("click", function () {
      const same = state.get("sort") === head.dataset.key;
      if (same && state.has("down")) { state.delete("sort"); state.delete("down"); }
      else if (same) state.set("down", "1");
      else { state.set("sort", head.dataset.key); state.delete("down"); }
      update();
    });
  });

  function value(row, index) {
    const cell = row.cells[index];
    const number = parseFloat(cell.dataset.value);
    return Number.isNaN(number) ? cell.textContent.trim().toLowerCase() : number;
  }

  function compare(a, b) {
    const empty = (x) => x === "";
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b));
  }

  function update() {
    const index = heads.findIndex((head) => head.dataset.key === state.get("sort"));
    const sign = state.has("down") ? -1 : 1;
    heads.forEach(function (head, i) {
      if (i === index) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    showColumns();
    let visible = 0;
    for (const body of board.tBodies) {
      const own = rows.filter((row) => row.parentElement === body);
      const sorted = own.slice().sort(function (a, b) {
        // Controls stay below, as in the tables without script.
        const apart = a.classList.contains("control") - b.classList.contains("control");
        if (index < 0 || apart) return apart || order.get(a) - order.get(b);
        const [x, y] = [value(a, index), value(b, index)];
        if (x === "" || y === "") return compare(x, y);
        return sign * compare(x, y) || order.get(a) - order.get(b);
      });
      body.append(...sorted);
      let here = 0;
      for (const row of own) {
        row.hidden = keys.some((key) => selects[key] && selects[key].value !== "*" &&
          !of(row, key).includes(selects[key].value));
        here += !row.hidden;
      }
      body.hidden = own.length > 0 && here === 0;
      visible += here;
    }
    for (const key of keys) {
      if (!selects[key]) continue;
      if (selects[key].value === "*") state.delete(key); else state.set(key, selects[key].value);
    }
    const count = bar.querySelector("output");
    if (count) count.textContent = visible + " of " + rows.length + " rows";
    // A place of the page that somebody linked to stays in the address.
    if (!state.size && location.hash && !location.hash.startsWith("#?")) return;
    const text = state.toString();
    history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search);
  }

  update();
})();

// The legend of a chart becomes a picker of its lines.
(function () {
  for (const figure of document.querySelectorAll("figure.plotted")) {
    const chart = figure.querySelector("svg");
    const items = figure.querySelectorAll(".picker li");
    if (items.length < 2) continue;
    items.forEach(function (item, i) {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      label.append(box, ...item.childNodes);
      item.append(label);
      box.addEventListener("change", () => chart.classList.toggle("hide-" + (i % 8), !box.checked));
    });
  }
})();

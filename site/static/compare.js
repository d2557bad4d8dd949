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
  const columns = names.slice();
  const tests = JSON.parse(document.getElementById("tests").textContent);
  const verdicts = document.getElementById("verdicts");
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
  table.classList.add("chosen");

  function show(chosen) {
    selects.forEach(function (select, i) { select.value = chosen[i] || (i > 1 ? "" : names[i]); });
    for (const row of table.rows) {
      const cells = new Map(Array.from(row.cells).map((cell) => [cell.dataset.method, cell]));
      for (const name of names) cells.get(name).hidden = !chosen.includes(name);
      // In the order in which they were asked for.
      for (const name of chosen) row.append(cells.get(name));
    }
    say(chosen);
  }

  // The verdict of each test between the methods shown, in words.
  function say(chosen) {
    const places = chosen.map((name) => columns.indexOf(name));
    const asked = [];
    for (const one of tests) {
      for (let i = 0; i < places.length; i++) {
        for (let j = i + 1; j < places.length; j++) {
          const [a, b] = [places[i], places[j]].sort((x, y) => x - y);
          const pair = one.pairs[a + "," + b];
          if (pair) asked.push({ one, pair, columns: [a, b], names: [a, b].map((place) => titles.get(columns[place])) });
        }
      }
    }
    holm(asked.filter((found) => found.pair.p !== null));
    mark(chosen, asked);
    verdicts.querySelector("ul").replaceChildren(...tests.map(function (one) {
      const item = document.createElement("li");
      const task = document.createElement("b");
      task.textContent = one.task;
      const what = document.createElement("span");
      what.className = "small muted";
      what.textContent = " " + one.metric + (one.unit ? " (" + one.unit + ")" : "");
      item.append(task, what);
      for (const found of asked.filter((of) => of.one === one)) {
        const line = document.createElement("p");
        const test = document.createElement("span");
        test.className = "small muted";
        test.textContent = detail(found);
        line.append(sentence(found), test);
        item.append(line);
      }
      return item;
    }).filter((item) => item.querySelector("p")));
    verdicts.hidden = !asked.length;
  }

  // Colour the cell of a method that every test of its task, and at least one, says is better.
  function mark(chosen, asked) {
    for (const row of table.querySelectorAll("tr[data-line]")) {
      const ofTask = asked.filter((found) => found.one === tests[Number(row.dataset.line)]);
      for (const cell of row.cells) {
        const own = ofTask.filter((found) => found.columns.includes(names.indexOf(cell.dataset.method)));
        const ahead = own.length > 0 && own.every((found) => found.adjusted < 0.05 && found.pair.better !== null
          && names[found.columns[found.pair.better]] === cell.dataset.method);
        cell.classList.toggle("ahead", ahead);
      }
    }
  }

  // Holm's step-down method, as ebbench.board.stats has it.
  function holm(family) {
    let least = 0;
    family.slice().sort((x, y) => x.pair.p - y.pair.p).forEach(function (found, i) {
      least = Math.max(least, Math.min(1, (family.length - i) * found.pair.p));
      found.adjusted = least;
    });
  }

  function sentence(found) {
    const [a, b] = found.names;
    const { pair } = found;
    if (pair.p === null) {
      const alone = [a, b].filter((_, i) => pair.seeds[i] < 2);
      const why = alone.length > 1 ? "both have one seed" : alone[0] + " has one seed";
      return a + " and " + b + ": not tested, " + why + ".";
    }
    if (found.adjusted >= 0.05) return "No test tells " + a + " and " + b + " apart: a tie.";
    if (pair.better === null) return a + " and " + b + " differ, and neither direction is better.";
    const [first, second] = pair.better ? [b, a] : [a, b];
    return first + " is better than " + second + ", " + (pair.higher === pair.better ? "higher" : "lower") + " by " + pair.gap + ".";
  }

  function detail(found) {
    const { pair } = found;
    if (pair.p === null) return " The means differ by " + pair.gap + ".";
    const p = found.adjusted < 0.001 ? "p < 0.001" : "p = " + found.adjusted.toFixed(3);
    return (found.adjusted >= 0.05 ? " The means differ by " + pair.gap + "; " : " ") + p + ", " + pair.test + ".";
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

// Sorting and filtering of the tables; without it they are whole, in the manifest's order.
"use strict";
const value = (cell) => {
  const text = cell.dataset.v ?? cell.textContent.trim();
  if (text === "" || text === "-") return null;
  const number = Number(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
};
const compare = (a, b) =>
  typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
      // What is not known comes last, either way.
      rows.sort(([a], [b]) =>
        a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

const jobs = document.querySelector("#jobs");
if (jobs) {
  const controls = document.querySelector("#controls");
  const words = Object.assign(document.createElement("input"), {
    type: "search", placeholder: "file, profile, notice…", ariaLabel: "show only jobs with these words",
  });
  const state = Object.assign(document.createElement("select"), { ariaLabel: "show only jobs in this state" });
  for (const name of ["all", "done", "failed", "running", "waiting", "with notices"]) {
    state.append(new Option(name, name));
  }
  const shown = document.createElement("span");
  shown.setAttribute("role", "status");
  const rows = [...jobs.tBodies[0].rows];
  const filter = () => {
    const wanted = words.value.toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits = (state.value === "all" || row.dataset.state === state.value ||
        (state.value === "with notices" && Number(row.lastElementChild.dataset.v) > 0)) &&
        (!wanted || row.textContent.toLowerCase().includes(wanted));
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} jobs`;
  };
  let timer;
  words.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 150); });
  state.addEventListener("change", filter);
  controls.append(words, state, shown);
  filter();
}

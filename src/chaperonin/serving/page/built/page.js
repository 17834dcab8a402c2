/* sources sha256:cf316d31f903f83af1a727132a523e3970d5435577a1a61cab1640f5a91aa310 */
"use strict";
(() => {
  // source/colours.ts
  var PALETTES = {
    light: {
      paper: "#ffffff",
      ink: "#22303c",
      muted: "#586875",
      line: "#dbe2e7",
      missing: "#cbced1",
      accent: "#c9772b",
      depth: ["#ffffff", "#d3e4ee", "#8fbbd3", "#3f86ad", "#1b557c", "#0b2b45"],
      effect: [
        "#8e1c2c",
        "#c8473f",
        "#e9967c",
        "#f8dccf",
        "#ffffff",
        "#d3e4ef",
        "#86b6d5",
        "#3a80b3",
        "#16466f"
      ]
    },
    dark: {
      paper: "#12181d",
      ink: "#dfe6eb",
      muted: "#97a6b2",
      line: "#2c3841",
      missing: "#3a444c",
      accent: "#f0b27a",
      depth: ["#161e25", "#1d3a4e", "#23618a", "#3d95c4", "#8cc8e8", "#eaf6fd"],
      effect: [
        "#ffb3a1",
        "#e2705c",
        "#a33d36",
        "#55292a",
        "#1c252c",
        "#1f3d53",
        "#2a6b9a",
        "#4fa0d2",
        "#b0daf6"
      ]
    }
  };
  var DARK = matchMedia("(prefers-color-scheme: dark)");
  function currentTheme() {
    return DARK.matches ? "dark" : "light";
  }
  function onThemeChange(action) {
    DARK.addEventListener("change", action);
  }
  function along(colours, share2) {
    const place = Math.min(Math.max(share2, 0), 1) * (colours.length - 1);
    const index = Math.min(Math.floor(place), colours.length - 2);
    const [from, to] = [channels(colours[index] ?? "#000000"), channels(colours[index + 1] ?? "#000000")];
    const mix = (one, other) => Math.round(one + (other - one) * (place - index));
    return [mix(from[0], to[0]), mix(from[1], to[1]), mix(from[2], to[2])];
  }
  function table(colours) {
    const bytes = new Uint8Array(768);
    for (let step = 0; step < 256; step++) bytes.set(along(colours, step / 255), step * 3);
    return bytes;
  }
  function channels(colour) {
    const number = Number.parseInt(colour.slice(1), 16);
    return [number >> 16, number >> 8 & 255, number & 255];
  }

  // source/elements.ts
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value2] of Object.entries(attributes)) made.setAttribute(key, value2);
    made.append(...children.filter((child) => child !== null));
    return made;
  }
  function shape(name, attributes = {}, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value2] of Object.entries(attributes)) made.setAttribute(key, String(value2));
    if (text) made.textContent = text;
    return made;
  }
  function find(id) {
    const found = document.getElementById(id);
    if (found === null) throw new Error(`the page has no element #${id}`);
    return found;
  }
  function button(text, action, attributes = {}) {
    const made = element("button", { type: "button", ...attributes }, text);
    made.addEventListener("click", action);
    return made;
  }
  var WHOLE = new Intl.NumberFormat("en-US");
  function count(number, noun) {
    return `${WHOLE.format(number)} ${noun}${number === 1 ? "" : "s"}`;
  }
  function whole(number) {
    return WHOLE.format(number);
  }
  function shortened(text, most) {
    return text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text;
  }

  // source/files.ts
  function csv(rows) {
    let text = "";
    for (const row of rows) text += `${row.map(cell).join(",")}\r
`;
    return text;
  }
  function cell(value2) {
    if (typeof value2 === "number") return String(value2);
    const isFormula = /^[=+\-@\t\r]/.test(value2) && (value2.trim() === "" || Number.isNaN(Number(value2)));
    const safe = isFormula ? `'${value2}` : value2;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }
  function saveText(name, text, type = "text/csv") {
    save(name, new Blob([text], { type: `${type};charset=utf-8` }));
  }
  function savePicture(name, canvas) {
    canvas.toBlob((blob) => {
      if (blob !== null) save(name, blob);
    }, "image/png");
  }
  function fileName(id, ending) {
    return `${id.replaceAll(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80) || "protein"}_${ending}`;
  }
  function save(name, blob) {
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 6e4);
  }

  // source/state.ts
  function emptyState() {
    return {
      model: null,
      proteins: [],
      prompts: [],
      predictions: /* @__PURE__ */ new Map(),
      agreements: /* @__PURE__ */ new Map(),
      notes: /* @__PURE__ */ new Set(),
      embeddings: /* @__PURE__ */ new Map(),
      contacts: /* @__PURE__ */ new Map(),
      scores: /* @__PURE__ */ new Map(),
      failures: /* @__PURE__ */ new Map(),
      selected: 0,
      isRunning: false
    };
  }
  function usable(state) {
    return [...state.proteins.keys()].filter((number) => !state.failures.has(number));
  }
  function letters(state, number) {
    return (state.proteins[number]?.sequence ?? "").replaceAll(/[\s0-9]/g, "").toUpperCase().replace(/\*$/, "");
  }
  function classNumbers(state) {
    const names = new Set(state.model?.task?.classes ?? []);
    for (const prediction of state.predictions.values()) names.add(proteinLabel(state, prediction));
    names.delete("");
    return new Map([...names].map((name, number) => [name, number]));
  }
  function proteinLabel(state, prediction) {
    return state.model?.task?.level === "sequence" ? prediction?.label ?? "" : "";
  }
  function colourClass(number) {
    return `class-${(number ?? 0) % 10}`;
  }

  // source/widgets.ts
  var MOST_COUNTED = 4;
  var LONGEST_COUNTED = 28;
  function nothing(title, text, ...more) {
    return element("div", { class: "nothing" }, element("strong", {}, title), element("p", {}, text), ...more);
  }
  function failureList(state) {
    const failures = [...state.failures.values()];
    const list = element("ul", {}, ...failures.map(({ id, error, where, advice }) => {
      const place = where && where !== id ? ` (${where})` : "";
      return element("li", {}, element("b", {}, id), `${place}: ${error} `, element("span", { class: "hint" }, advice));
    }));
    const title = element("h3", {}, `${whole(failures.length)} of ${count(state.proteins.length, "protein")} could not be used`);
    return element("div", { class: "attention failures" }, title, list);
  }
  function countsOf(labels) {
    const counts = /* @__PURE__ */ new Map();
    for (const label2 of labels) if (label2 !== "") counts.set(label2, (counts.get(label2) ?? 0) + 1);
    return [...counts].sort((one, other) => other[1] - one[1]);
  }
  function labelSummary(proteins, counts, numbers) {
    const summary = element("p", { class: "summary" }, element("b", {}, whole(proteins)), proteins === 1 ? " protein" : " proteins");
    if (counts.length > MOST_COUNTED) summary.append(` · ${count(counts.length, "label")}`);
    else for (const [name, amount] of counts) {
      summary.append(" · ", element("span", {}, colourKey(numbers.get(name)), `${shortened(name, LONGEST_COUNTED)} `, element("b", {}, whole(amount))));
    }
    return summary;
  }
  function colourKey(number) {
    return element("span", { class: `key ${colourClass(number)}` });
  }
  function share(probability) {
    const fill = element("span");
    fill.style.width = `${Math.min(Math.max(probability, 0), 1) * 100}%`;
    return element("span", { class: "share" }, element("span", { class: "bar", "aria-hidden": "true" }, fill), fixed(probability));
  }
  function fixed(value2) {
    return value2.toFixed(3);
  }
  function proteinChoice(id, state, onChange) {
    const select = element("select", { id });
    for (const number of usable(state)) {
      const option = element("option", { value: String(number) }, state.proteins[number]?.id ?? "");
      option.selected = number === state.selected;
      select.append(option);
    }
    select.addEventListener("change", () => onChange(Number(select.value)));
    return element("div", {}, element("label", { for: id }, "Protein"), select);
  }
  function sharpen(canvas, width, height, density = window.devicePixelRatio || 1) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("this browser draws no canvas");
    context.setTransform(density, 0, 0, density, 0, 0);
    return context;
  }
  function tickStep(length, most) {
    for (let unit = 1; ; unit *= 10) {
      for (const factor of [1, 2, 5]) if (length / (unit * factor) <= most) return unit * factor;
    }
  }
  function explore(canvas, size, cellAt2, onCell) {
    let cell2 = null;
    const show2 = (next) => {
      cell2 = next;
      onCell(next);
    };
    canvas.onpointermove = canvas.onpointerdown = (event) => show2(cellAt2(event.offsetX, event.offsetY));
    canvas.onpointerleave = () => show2(null);
    canvas.onkeydown = (event) => {
      const step = event.shiftKey ? 10 : 1;
      const moves = {
        ArrowLeft: [-step, 0],
        ArrowRight: [step, 0],
        ArrowUp: [0, -step],
        ArrowDown: [0, step]
      };
      const move = moves[event.key];
      if (move === void 0) return;
      event.preventDefault();
      const [column, row] = cell2 ?? [0, 0];
      const bounded = (value2, limit) => Math.min(Math.max(value2, 0), limit - 1);
      show2([bounded(column + move[0], size.columns), bounded(row + move[1], size.rows)]);
    };
  }
  var Readout = class {
    constructor(hint) {
      this.hint = hint;
      this.show("", hint);
    }
    hint;
    element = element("div", { class: "readout", role: "status" });
    show(value2, meaning) {
      this.element.replaceChildren(
        ...value2 === "" ? [] : [element("b", {}, value2)],
        element("span", {}, value2 === "" ? this.hint : meaning)
      );
    }
  };
  function onResize(box, draw) {
    let width = 0;
    new ResizeObserver(() => {
      const now = Math.floor(box.clientWidth);
      if (now === 0 || now === width) return;
      width = now;
      draw(now);
    }).observe(box);
  }
  function residueCount(length) {
    return count(length, "residue");
  }

  // source/contacts.ts
  var LONG_RANGE = 24;
  var LISTED = 10;
  var AXIS = 34;
  var LARGEST_SIDE = 640;
  var SAVED_SIDE = 900;
  var ContactPanel = class {
    constructor(panel, onSelect) {
      this.panel = panel;
      this.onSelect = onSelect;
    }
    panel;
    onSelect;
    redraw = () => void 0;
    /** Draw again in the colours of the theme. */
    recolour() {
      this.redraw();
    }
    show(state, message) {
      this.redraw = () => void 0;
      const map = state.contacts.get(state.selected);
      this.panel.classList.toggle("filled", map !== void 0);
      if (state.proteins.length === 0) {
        this.panel.replaceChildren(nothing("No contact map yet", "For each pair of residues: how probable it is that they touch in the fold."));
        return;
      }
      const choice = element("div", { class: "choice" }, proteinChoice("contact-protein", state, this.onSelect));
      if (map === void 0) {
        this.panel.replaceChildren(element("div", { class: "head" }, choice), nothing("Contact map", message));
        return;
      }
      const sequence = letters(state, state.selected);
      const save2 = element(
        "div",
        { class: "row" },
        button("Picture, PNG", () => savePicture(fileName(map.id, "contacts.png"), picture(map, sequence)), { id: "save-contacts-png" }),
        button("CSV", () => saveText(fileName(map.id, "contacts.csv"), contactsCsv(map, sequence)), { id: "save-contacts-csv", "aria-label": "Contact map, CSV" })
      );
      this.panel.replaceChildren(element("div", { class: "head" }, choice, save2), this.body(map, sequence));
    }
    body(map, sequence) {
      const canvas = element("canvas", {
        class: "picture",
        id: "contact-map",
        tabindex: "0",
        role: "img",
        "aria-label": `Contact map of ${map.id}, ${residueCount(map.length)}, probabilities from 0 to 1. Arrow keys move over the pairs.`
      });
      const readout = new Readout("Point at the map, or move over it with the arrow keys.");
      const main = element("div", {}, readout.element, canvas);
      let width = 0;
      let cell2 = null;
      this.redraw = () => {
        if (width === 0) return;
        canvas.style.width = canvas.style.height = `${width}px`;
        drawMap(sharpen(canvas, width, width), width, map, sequence, PALETTES[currentTheme()], cell2);
      };
      onResize(main, (available) => {
        width = Math.min(available, LARGEST_SIDE);
        this.redraw();
      });
      const cellAt2 = (x, y) => {
        const unit = (width - AXIS) / map.length;
        const [column, row] = [Math.floor((x - AXIS) / unit), Math.floor(y / unit)];
        return column >= 0 && row >= 0 && column < map.length && row < map.length ? [column, row] : null;
      };
      explore(canvas, { columns: map.length, rows: map.length }, cellAt2, (next) => {
        cell2 = next;
        this.redraw();
        if (next === null) readout.show("", "");
        else readout.show(...pairText(map, sequence, next));
      });
      const aside = element("div", { class: "aside" }, scale(), strongest(map, sequence));
      return element("div", { class: "beside" }, main, aside);
    }
  };
  function pairText(map, sequence, [column, row]) {
    const probability = map.contacts[row]?.[column];
    const pair = `${residue(sequence, row)} – ${residue(sequence, column)}`;
    const apart = `${pair}, ${Math.abs(row - column)} apart`;
    return [probability === null || probability === void 0 ? "–" : probability.toFixed(3), apart];
  }
  function residue(sequence, index) {
    return `${sequence[index] ?? ""}${index + 1}`;
  }
  function scale() {
    return element(
      "div",
      {},
      element("h3", {}, "Probability of contact"),
      element("div", { class: "scale" }),
      element("div", { class: "ends" }, element("span", {}, "0"), element("span", {}, "1"))
    );
  }
  function strongest(map, sequence) {
    const pairs = [];
    for (let row = 0; row < map.length; row++) {
      for (let column = row + LONG_RANGE; column < map.length; column++) {
        const probability = map.contacts[row]?.[column];
        if (typeof probability === "number") pairs.push([row, column, probability]);
      }
    }
    if (pairs.length === 0) {
      return element("p", { class: "hint" }, `No pair of residues is ${LONG_RANGE} or more apart.`);
    }
    pairs.sort((one, other) => other[2] - one[2]);
    const rows = pairs.slice(0, LISTED).map(([row, column, probability]) => element(
      "tr",
      {},
      element("th", { scope: "row" }, `${residue(sequence, row)} – ${residue(sequence, column)}`),
      element("td", { class: "number" }, probability.toFixed(3))
    ));
    const fifth = pairs.slice(0, Math.max(1, Math.floor(map.length / 5)));
    const mean = fifth.reduce((sum, pair) => sum + pair[2], 0) / fifth.length;
    const note = `Residues ${LONG_RANGE} or more apart decide the fold. The strongest L/5 = ${fifth.length} have mean probability ${mean.toFixed(2)}. The map is the base model's.`;
    return element(
      "div",
      {},
      element("h3", {}, "Long-range contacts"),
      element("table", { "aria-label": "Strongest long-range contacts" }, element("tbody", {}, ...rows)),
      element("p", { class: "hint" }, note)
    );
  }
  function drawMap(context, side, map, sequence, palette, cell2) {
    const inner = side - AXIS;
    const unit = inner / map.length;
    context.fillStyle = palette.paper;
    context.fillRect(0, 0, side, side);
    context.imageSmoothingEnabled = unit < 1;
    context.drawImage(cells(map, palette), AXIS, 0, inner, inner);
    context.strokeStyle = palette.line;
    context.lineWidth = 1;
    context.strokeRect(AXIS + 0.5, 0.5, inner - 1, inner - 1);
    if (cell2 !== null) {
      const [column, row] = cell2;
      context.strokeStyle = palette.accent;
      context.strokeRect(AXIS + column * unit - 0.5, row * unit - 0.5, unit + 1, unit + 1);
      context.globalAlpha = 0.45;
      context.fillStyle = palette.accent;
      context.fillRect(AXIS, (row + 0.5) * unit, column * unit, 1);
      context.fillRect(AXIS + (column + 0.5) * unit, (row + 1) * unit, 1, inner - (row + 1) * unit);
      context.globalAlpha = 1;
    }
    drawAxes(context, side, map.length, sequence, palette, cell2);
  }
  function drawAxes(context, side, length, sequence, palette, cell2) {
    const inner = side - AXIS;
    const unit = inner / length;
    const withLetters = unit >= 7;
    const step = tickStep(length, Math.max(3, Math.floor(inner / 60)));
    context.textBaseline = "middle";
    const put = (index, text, colour, offset) => {
      context.fillStyle = colour;
      const place = (index + 0.5) * unit;
      context.textAlign = "right";
      context.fillText(text, AXIS - 5 - offset, place);
      context.textAlign = "center";
      context.fillText(text, AXIS + place, inner + 11 + offset);
    };
    if (withLetters) {
      context.font = `${Math.min(Math.floor(unit + 1), 11)}px ui-monospace, Menlo, Consolas, monospace`;
      for (let index = 0; index < length; index++) put(index, sequence[index] ?? "", palette.ink, 0);
    }
    context.font = "11px system-ui, sans-serif";
    for (let residue2 = step; residue2 <= length; residue2 += step) {
      put(residue2 - 1, String(residue2), palette.muted, withLetters ? 12 : 0);
    }
    if (cell2 !== null) drawCellNames(context, side, length, sequence, palette, cell2, withLetters ? 12 : 0);
  }
  function drawCellNames(context, side, length, sequence, palette, [column, row], offset) {
    const inner = side - AXIS;
    const unit = inner / length;
    context.font = "600 11px system-ui, sans-serif";
    const box = (text, x, y) => {
      const width = context.measureText(text).width + 4;
      context.fillStyle = palette.paper;
      context.fillRect(x - width / 2, y - 7, width, 14);
      context.fillStyle = palette.accent;
      context.textAlign = "center";
      context.fillText(text, x, y);
    };
    box(residue(sequence, row), AXIS - 16 - offset / 4, Math.min(Math.max((row + 0.5) * unit, 8), inner - 8));
    box(residue(sequence, column), Math.min(Math.max(AXIS + (column + 0.5) * unit, AXIS + 12), side - 16), inner + 11 + offset);
  }
  function cells(map, palette) {
    const canvas = element("canvas", { width: String(map.length), height: String(map.length) });
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("this browser draws no canvas");
    const image = context.createImageData(map.length, map.length);
    const colours = table(palette.depth);
    const missing = [palette.missing.slice(1, 3), palette.missing.slice(3, 5), palette.missing.slice(5)].map((hex) => Number.parseInt(hex, 16));
    map.contacts.flat().forEach((probability, index) => {
      const start = probability === null ? 0 : Math.round(Math.min(Math.max(probability, 0), 1) * 255) * 3;
      const colour = probability === null ? missing : colours.subarray(start, start + 3);
      image.data.set(colour, index * 4);
      image.data[index * 4 + 3] = 255;
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }
  function picture(map, sequence) {
    const whole2 = element("canvas");
    const context = sharpen(whole2, SAVED_SIDE, SAVED_SIDE + 40, 2);
    const part = element("canvas");
    drawMap(sharpen(part, SAVED_SIDE, SAVED_SIDE, 2), SAVED_SIDE, map, sequence, PALETTES.light, null);
    context.fillStyle = PALETTES.light.paper;
    context.fillRect(0, 0, SAVED_SIDE, SAVED_SIDE + 40);
    context.fillStyle = PALETTES.light.ink;
    context.font = "600 15px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillText(`${map.id} · ${residueCount(map.length)} · probability of contact, 0 white to 1 dark`, AXIS, 20, SAVED_SIDE - AXIS);
    context.drawImage(part, 0, 40, SAVED_SIDE, SAVED_SIDE);
    return whole2;
  }
  function contactsCsv(map, sequence) {
    const rows = [["i", "residue_i", "j", "residue_j", "probability"]];
    for (let row = 0; row < map.length; row++) {
      for (let column = row + 1; column < map.length; column++) {
        rows.push([row + 1, sequence[row] ?? "", column + 1, sequence[column] ?? "", map.contacts[row]?.[column] ?? ""]);
      }
    }
    return csv(rows);
  }

  // source/table.ts
  var ROWS_AT_ONCE = 100;
  var ResultTable = class {
    constructor(name) {
      this.name = name;
    }
    name;
    element = element("div");
    order = "";
    isDescending = false;
    rows = ROWS_AT_ONCE;
    open = /* @__PURE__ */ new Set();
    columns = [];
    results = [];
    details = null;
    /** Forget what was opened and sorted for the run before. */
    reset() {
      this.sortBy("");
      this.rows = ROWS_AT_ONCE;
      this.open.clear();
    }
    /** Sort by the column of this name, the largest on top; without one by the order of the list. */
    sortBy(name) {
      this.order = name;
      this.isDescending = true;
    }
    show(columns, results, details) {
      this.columns = columns;
      this.results = [...results].sort(([one], [other]) => one - other);
      this.details = details;
      this.draw();
    }
    draw() {
      const header = element("tr", {}, ...this.columns.map((column) => this.headerCell(column)));
      if (this.details !== null) header.append(element("th", { scope: "col" }, element("span", { class: "unseen" }, "Details")));
      const body = element("tbody");
      const sorted = this.sorted();
      for (const [number, result] of sorted.slice(0, this.rows)) body.append(...this.row(number, result));
      const table2 = element("table", { "aria-label": this.name }, element("thead", {}, header), body);
      this.element.replaceChildren(element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": this.name }, table2));
      if (sorted.length <= this.rows) return;
      this.element.append(button(`Show more (${whole(sorted.length - this.rows)} left)`, () => {
        this.rows += ROWS_AT_ONCE * 5;
        this.draw();
      }, { class: "more" }));
    }
    headerCell(column) {
      const cell2 = element("th", { scope: "col", class: column.className });
      if (column.order === null) {
        cell2.textContent = column.name;
        return cell2;
      }
      const isSorted = this.order === column.name;
      if (isSorted) cell2.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
      cell2.append(button(column.name, () => {
        this.isDescending = isSorted ? !this.isDescending : column.isLargestFirst === true;
        this.order = column.name;
        this.draw();
        this.element.querySelector("[aria-sort] button")?.focus();
      }));
      return cell2;
    }
    sorted() {
      const order = this.columns.find((column) => column.name === this.order)?.order;
      if (!order) return this.results;
      const sign = this.isDescending ? -1 : 1;
      return [...this.results].sort(([, one], [, other]) => sign * compare(order(one), order(other)));
    }
    row(number, result) {
      const row = element("tr");
      this.columns.forEach(({ className, cell: cell2 }, index) => {
        row.append(index === 0 ? element("th", { scope: "row" }, cell2(result)) : element("td", { class: className }, cell2(result)));
      });
      if (this.details === null) return [row];
      const id = `${this.name}-${number}`;
      const isOpen = this.open.has(number);
      const toggle = button(isOpen ? "▾" : "▸", () => {
        if (!this.open.delete(number)) this.open.add(number);
        this.draw();
        this.element.querySelector(`[aria-controls="${id}"]`)?.focus();
      }, { class: "toggle", "aria-expanded": String(isOpen), "aria-controls": id, "aria-label": `Details of ${result.id}` });
      row.append(element("td", {}, toggle));
      if (!isOpen) return [row];
      const details = element("td", { colspan: String(this.columns.length + 1) }, ...this.details(number, result));
      return [row, element("tr", { class: "details", id }, details)];
    }
  };
  function compare(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true });
  }

  // source/descriptions.ts
  var LONGEST_SHOWN = 60;
  var DescriptionPanel = class {
    constructor(panel) {
      this.panel = panel;
    }
    panel;
    table = new ResultTable("descriptions");
    /** The label of the description that ranks the proteins; empty for the best of each. */
    ranking = "";
    /** A single description ranks at once. */
    reset(state) {
      this.table.reset();
      this.rankBy(state.prompts.length === 1 ? state.prompts[0]?.label ?? "" : "");
    }
    rankBy(label2) {
      this.ranking = label2;
      this.table.sortBy(label2 === "" ? "" : COSINE);
    }
    show(state) {
      const parts = [];
      if (state.failures.size > 0 && state.prompts.length > 0) parts.push(failureList(state));
      if (state.notes.size > 0) parts.push(element("div", { class: "attention" }, ...[...state.notes].map((note) => element("p", {}, `Note: ${note}.`))));
      const isFilled = state.agreements.size > 0;
      if (isFilled) parts.push(this.head(state), ...this.results(state));
      else if (state.prompts.length === 0) parts.push(nothing("No descriptions yet", EMPTY));
      else if (state.isRunning) parts.push(nothing("Comparing…", "The first results appear here as they arrive."));
      else if (usable(state).length > 0) parts.push(nothing("No comparison", "The run ended before the first result."));
      this.panel.classList.toggle("filled", isFilled);
      this.panel.replaceChildren(...parts);
    }
    head(state) {
      const best = hasChoice(state) ? countsOf([...state.agreements.values()].map((one) => one.label)) : [];
      const summary = labelSummary(state.agreements.size, best, numbersOf(state));
      if (!hasChoice(state)) summary.append(` · ranked by “${shortened(this.ranking, LONGEST_SHOWN)}”`);
      const save2 = button("Descriptions, CSV", () => saveText("descriptions.csv", descriptionsCsv(state)), { id: "save-descriptions" });
      const row = element("div", { class: "choice" });
      if (hasChoice(state)) row.append(this.rankChoice(state));
      row.append(save2);
      return element("div", { class: "head" }, summary, row);
    }
    rankChoice(state) {
      const select = element(
        "select",
        { id: "rank-by" },
        element("option", { value: "" }, "the order of the list"),
        ...state.prompts.map(({ label: label2 }) => element("option", { value: label2 }, shortened(label2, LONGEST_SHOWN)))
      );
      select.value = this.ranking;
      select.addEventListener("change", () => {
        this.rankBy(select.value);
        this.show(state);
        this.panel.querySelector("#rank-by")?.focus();
      });
      return element("div", {}, element("label", { for: "rank-by" }, "Rank by"), select);
    }
    results(state) {
      const details = hasChoice(state) ? (_, one) => [allOf(state, one)] : null;
      this.table.show(this.columns(state), state.agreements, details);
      return [this.table.element, element("p", { class: "hint" }, hasChoice(state) ? ABOUT_CHOICE : ABOUT_RANKING)];
    }
    columns(state) {
      const numbers = numbersOf(state);
      const cosine = (one) => one.cosines[this.ranking || one.label];
      const place = placesAmong([...state.agreements.values()].map(cosine));
      const choice = [
        { name: "Best description", className: "", cell: (one) => element("span", {}, colourKey(numbers.get(one.label)), one.label), order: (one) => one.label },
        { name: "Share", className: "", cell: (one) => share(one.probability ?? 0), order: (one) => one.probability, isLargestFirst: true }
      ];
      return [
        { name: "Protein", className: "", cell: (one) => one.id, order: (one) => one.id },
        ...hasChoice(state) ? choice : [],
        { name: COSINE, className: "start", cell: (one) => place(cosine(one)), order: cosine, isLargestFirst: true }
      ];
    }
  };
  var COSINE = "Cosine";
  var EMPTY = "Write descriptions under the sequences, one a line, then run: each protein gets the one that fits it best. A single description ranks the proteins.";
  var ABOUT_CHOICE = "Shares are a softmax over your descriptions with the model's own temperature; they are not calibrated. The cosine of the two vectors, −1 to 1, is that of the best description, or of the one that ranks; its dot runs from the lowest to the highest of these proteins.";
  var ABOUT_RANKING = "The cosine of the vectors of protein and text, −1 to 1; its dot runs from the lowest to the highest of these proteins.";
  function hasChoice(state) {
    return state.prompts.length > 1;
  }
  function numbersOf(state) {
    return new Map(state.prompts.map(({ label: label2 }, number) => [label2, number]));
  }
  function placesAmong(cosines) {
    const known2 = cosines.filter((cosine) => cosine !== void 0);
    const lowest = known2.reduce((one, other) => Math.min(one, other), 1);
    const span = known2.reduce((one, other) => Math.max(one, other), -1) - lowest || 1;
    return (cosine) => {
      if (cosine === void 0) return "–";
      const dot2 = element("span");
      dot2.style.left = `${(cosine - lowest) / span * 100}%`;
      return element("span", { class: "share" }, element("span", { class: "place", "aria-hidden": "true" }, dot2), signed(cosine));
    };
  }
  function signed(cosine) {
    return fixed(cosine).replace("-", "−");
  }
  function allOf(state, { probabilities, cosines }) {
    const numbers = numbersOf(state);
    const sorted = Object.entries(probabilities ?? {}).sort((one, other) => other[1] - one[1]);
    const header = ["Description", "Share", COSINE].map((name) => element("th", { scope: "col" }, name));
    const rows = sorted.map(([label2, probability]) => element(
      "tr",
      {},
      element("th", { scope: "row" }, colourKey(numbers.get(label2)), label2),
      element("td", {}, share(probability)),
      element("td", { class: "number" }, signed(cosines[label2] ?? 0))
    ));
    return element("table", {}, element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...rows));
  }
  function descriptionsCsv(state) {
    const labels = state.prompts.map(({ label: label2 }) => label2);
    const best = hasChoice(state) ? ["label", "probability", ...labels.map((label2) => `p_${label2}`)] : [];
    const rows = [...state.agreements].sort(([one], [other]) => one - other).map(([, one]) => [
      one.id,
      ...hasChoice(state) ? [one.label, one.probability ?? "", ...labels.map((label2) => one.probabilities?.[label2] ?? "")] : [],
      ...labels.map((label2) => one.cosines[label2] ?? "")
    ]);
    return csv([["id", ...best, ...labels.map((label2) => `cosine_${label2}`)], ...rows]);
  }

  // source/projection.ts
  var MOST_ROUNDS = 500;
  var TOLERANCE = 1e-10;
  function principalComponents(rows) {
    const centred = centre(rows);
    const width = centred[0]?.length ?? 0;
    const total = centred.reduce((sum, row) => sum + dot(row, row), 0);
    const components = [];
    const variances = [];
    for (let index = 0; index < 2; index++) {
      const [component, variance] = leading(centred, components, width);
      components.push(component);
      variances.push(variance);
    }
    const points = centred.map((row) => [
      dot(row, components[0]),
      dot(row, components[1])
    ]);
    const share2 = (index) => total > 0 ? (variances[index] ?? 0) / total : 0;
    return { points, explained: [share2(0), share2(1)] };
  }
  function similarities(rows, index) {
    const compared = rows.length > 2 ? centre(rows) : rows;
    const one = compared[index];
    return compared.map((row) => dot(row, one) / (Math.sqrt(dot(row, row) * dot(one, one)) || 1));
  }
  function centre(rows) {
    const mean = new Float64Array(rows[0]?.length ?? 0);
    for (const row of rows) row.forEach((value2, column) => mean[column] = (mean[column] ?? 0) + value2 / rows.length);
    return rows.map((row) => row.map((value2, column) => value2 - (mean[column] ?? 0)));
  }
  function leading(rows, known2, width) {
    let direction = longest(rows, known2) ?? new Float64Array(width);
    let variance = 0;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const next = new Float64Array(width);
      for (const row of rows) {
        const along2 = dot(row, direction);
        for (let column = 0; column < width; column++) next[column] = (next[column] ?? 0) + along2 * (row[column] ?? 0);
      }
      removeParts(next, known2);
      const length = Math.sqrt(dot(next, next));
      if (length === 0) return [direction, 0];
      const turned = next.map((value2) => value2 / length);
      const isSettled = Math.abs(length - variance) <= TOLERANCE * length && 1 - Math.abs(dot(turned, direction)) <= TOLERANCE;
      direction = turned;
      variance = length;
      if (isSettled) break;
    }
    const largest = direction.reduce((best, value2) => Math.abs(value2) > Math.abs(best) ? value2 : best, 0);
    return [largest < 0 ? direction.map((value2) => -value2) : direction, variance];
  }
  function longest(rows, known2) {
    let best = null;
    let bestLength = 0;
    for (const row of rows) {
      const rest = row.slice();
      removeParts(rest, known2);
      const length = Math.sqrt(dot(rest, rest));
      if (length > bestLength) [best, bestLength] = [rest.map((value2) => value2 / length), length];
    }
    return best;
  }
  function removeParts(vector, known2) {
    for (const part of known2) {
      const along2 = dot(vector, part);
      vector.forEach((value2, column) => vector[column] = value2 - along2 * (part[column] ?? 0));
    }
  }
  function dot(a, b) {
    let sum = 0;
    for (let index = 0; index < a.length; index++) sum += (a[index] ?? 0) * (b[index] ?? 0);
    return sum;
  }

  // source/predictions.ts
  var PredictionPanel = class {
    constructor(panel, onMap) {
      this.panel = panel;
      this.onMap = onMap;
    }
    panel;
    onMap;
    table = new ResultTable("predictions");
    /** Forget what was opened and sorted for the run before. */
    reset() {
      this.table.reset();
    }
    show(state) {
      const parts = [];
      if (state.failures.size > 0) parts.push(failureList(state));
      const isFilled = state.predictions.size > 0;
      if (isFilled) {
        this.table.show(columnsOf(state), state.predictions, (number, prediction) => this.details(state, number, prediction));
        parts.push(this.head(state), this.table.element);
      } else if (state.proteins.length === 0) parts.push(nothing("No proteins yet", EMPTY2));
      else if (state.model?.task === null) parts.push(this.withoutTask(state));
      else if (state.isRunning) parts.push(nothing("Predicting…", "The first results appear here as they arrive."));
      else if (usable(state).length > 0) parts.push(nothing("No predictions", "The run ended before the first result."));
      this.panel.classList.toggle("filled", isFilled || state.failures.size > 0);
      this.panel.replaceChildren(...parts);
    }
    withoutTask(state) {
      const name = state.model?.name ?? "This model";
      const text = state.model?.readsText ? `${name} chooses between classes that you describe: see the tab “Descriptions”.` : `${name} predicts residues, not labels: its embeddings, contacts and variant effects are in the other tabs. Choose a fine-tuned model for labels.`;
      return nothing("This model has no task", text);
    }
    head(state) {
      const summary = labelSummary(state.predictions.size, labelCounts(state), classNumbers(state));
      const outside = [...state.predictions.values()].filter((one) => one.in_domain === false).length;
      if (outside > 0) summary.append(` · ${whole(outside)} outside the domain`);
      const save2 = button("Predictions, CSV", () => saveText("predictions.csv", predictionsCsv(state)), { id: "save-predictions" });
      return element("div", { class: "head" }, summary, element("div", { class: "row" }, save2));
    }
    details(state, number, prediction) {
      const list = element("dl", { class: "number-list" });
      const numbers = classNumbers(state);
      const classes = Object.entries(prediction.probabilities ?? {}).sort((one, other) => other[1] - one[1]);
      for (const [name, probability] of classes) {
        list.append(element("dt", {}, colourKey(numbers.get(name)), name), element("dd", {}, share(probability)));
      }
      if (known(prediction.distance)) {
        list.append(element("dt", {}, "Distance from the training set"), element("dd", {}, `${prediction.distance.toFixed(2)} (above 1 is outside)`));
      }
      const parts = [list];
      if (prediction.label && !numbers.has(prediction.label)) parts.push(element("p", { class: "residues" }, prediction.label));
      const maps = element(
        "div",
        { class: "row" },
        button("Contact map", () => this.onMap(number, "contacts")),
        button("Variants", () => this.onMap(number, "variants"))
      );
      return [...parts, maps];
    }
  };
  var EMPTY2 = "Paste sequences, open a file or choose an example, then run. Predictions, embeddings, contact maps and the effects of variants appear here.";
  function columnsOf(state) {
    const columns = [
      { name: "Protein", className: "", cell: (one) => one.id, order: (one) => one.id },
      { name: "Length", className: "number wide-only", cell: (one) => whole(one.length), order: (one) => one.length }
    ];
    const task = state.model?.task;
    if (task?.level === "sequence" && task.kind === "regression") {
      columns.push({ name: "Value", className: "number", cell: value, order: (one) => one.value, isLargestFirst: true });
    } else {
      const numbers = classNumbers(state);
      columns.push(
        { name: "Label", className: "", cell: (one) => label(one, numbers), order: (one) => one.label },
        { name: "Probability", className: "", cell: (one) => known(one.probability) ? share(one.probability) : "–", order: (one) => one.probability, isLargestFirst: true }
      );
    }
    columns.push({ name: "Domain", className: "", cell: domain, order: null });
    return columns;
  }
  function known(number) {
    return typeof number === "number";
  }
  function value(prediction) {
    if (!known(prediction.value)) return "–";
    if (!known(prediction.interval)) return fixed(prediction.value);
    const range2 = element("span", { class: "inside", title: "Nine of ten true values lie within it." }, ` ± ${fixed(prediction.interval)}`);
    return element("span", {}, fixed(prediction.value), range2);
  }
  function label(prediction, numbers) {
    if (!prediction.label) return "–";
    const number = numbers.get(prediction.label);
    if (number === void 0) return element("code", {}, shortened(prediction.label, 19));
    return element("span", {}, colourKey(number), prediction.label);
  }
  function domain(prediction) {
    if (prediction.in_domain === null || prediction.in_domain === void 0) return "–";
    if (prediction.in_domain) return element("span", { class: "inside" }, "inside");
    const title = "Unlike the proteins the model was trained on: trust the label less.";
    return element("span", { class: "outside", title }, "outside");
  }
  function labelCounts(state) {
    return countsOf([...state.predictions.values()].map((prediction) => proteinLabel(state, prediction)));
  }
  function predictionsCsv(state) {
    const task = state.model?.task;
    const isValue = task?.level === "sequence" && task.kind === "regression";
    const classes = task?.level === "sequence" ? task.classes : [];
    const header = isValue ? ["value", "low", "high"] : ["label", "probability"];
    const rows = [...state.predictions].sort(([one], [other]) => one - other).map(([, one]) => [
      one.id,
      ...isValue ? range(one) : [one.label ?? "", one.probability ?? ""],
      typeof one.in_domain === "boolean" ? String(one.in_domain) : "",
      one.distance ?? "",
      ...isValue ? [] : classes.map((name) => one.probabilities?.[name] ?? "")
    ]);
    const shares = isValue ? [] : classes.map((name) => `p_${name}`);
    return csv([["id", ...header, "in_domain", "distance", ...shares], ...rows]);
  }
  function range({ value: value2, interval }) {
    if (!known(value2)) return ["", "", ""];
    return known(interval) ? [value2, value2 - interval, value2 + interval] : [value2, "", ""];
  }

  // source/embeddings.ts
  var MARGIN = { left: 12, right: 12, top: 10, bottom: 30 };
  var HIDDEN_WIDTH = 640;
  var MOST_NAMED = 40;
  var NEIGHBOURS = 6;
  var MOST_LABELS = 12;
  var EmbeddingPanel = class {
    constructor(panel, onSelect) {
      this.panel = panel;
      this.onSelect = onSelect;
    }
    panel;
    onSelect;
    projection = null;
    numbers = [];
    show(state) {
      this.panel.classList.toggle("filled", state.embeddings.size > 0);
      if (state.embeddings.size === 0) {
        const title = state.isRunning ? "Embedding…" : "No embeddings yet";
        this.panel.replaceChildren(nothing(title, "Each protein becomes one vector, the mean over its residues. Three or more are drawn on a plane."));
        return;
      }
      this.numbers = [...state.embeddings.keys()].sort((one, other) => one - other);
      const rows = this.numbers.map((number) => Float64Array.from(state.embeddings.get(number)?.embedding ?? []));
      const isDrawn = rows.length >= 3 && !state.isRunning;
      this.projection = isDrawn ? principalComponents(rows) : null;
      this.panel.replaceChildren(this.head(state, rows[0]?.length ?? 0), this.body(state, rows));
    }
    head(state, width) {
      const summary = element("p", { class: "summary" });
      summary.append(
        element("b", {}, whole(this.numbers.length)),
        ` ${this.numbers.length === 1 ? "vector" : "vectors"} of `,
        element("b", {}, whole(width)),
        ` numbers · ${state.model?.name ?? ""}`
      );
      const row = element(
        "div",
        { class: "row" },
        button("Embeddings, CSV", () => saveText("embeddings.csv", this.embeddingsCsv(state)), { id: "save-embeddings-csv" }),
        button("JSON", () => saveText("embeddings.json", this.embeddingsJson(state), "application/json"), { id: "save-embeddings-json", "aria-label": "Embeddings, JSON" })
      );
      if (this.projection !== null) {
        row.append(button("Projection, CSV", () => saveText("projection.csv", this.projectionCsv(state)), { id: "save-projection" }));
      }
      return element("div", { class: "head" }, summary, row);
    }
    body(state, rows) {
      const main = element("div");
      if (this.projection === null) {
        const text = state.isRunning ? "The picture is drawn when all embeddings are there." : "Two components need three proteins. The vectors can be saved all the same.";
        main.append(nothing(state.isRunning ? "Embedding…" : "Too few for a projection", text));
      } else {
        main.append(this.plot(state, HIDDEN_WIDTH));
        onResize(main, (width) => main.replaceChildren(this.plot(state, Math.min(width, 720))));
      }
      const aside = element("div", { class: "aside" });
      const legend = this.legend(state);
      if (legend !== null) aside.append(legend);
      if (rows.length > 1 && !state.isRunning) aside.append(this.neighbours(state, rows));
      return element("div", { class: "beside" }, main, aside);
    }
    plot(state, width) {
      const { points, explained } = this.projection;
      const height = Math.round(Math.min(width * 0.78, 520));
      const [toX, toY] = scales(points, width, height);
      const svg = shape("svg", {
        class: "picture",
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: "group",
        id: "projection",
        "aria-label": `${count(points.length, "protein")} on the first two principal components of their embeddings`
      });
      svg.append(...axes(points, width, height, toX, toY, explained));
      const numbers = classNumbers(state);
      const names = [];
      const taken = points.map(([x, y]) => ({ left: toX(x) - 6, right: toX(x) + 6, top: toY(y) - 6, bottom: toY(y) + 6 }));
      points.forEach(([x, y], index) => {
        const number = this.numbers[index];
        const prediction = state.predictions.get(number);
        const named = proteinLabel(state, prediction);
        const id = state.proteins[number]?.id ?? "";
        const isSelected = number === state.selected;
        const dot2 = shape("circle", {
          class: `point ${colourClass(numbers.get(named))}${isSelected ? " selected" : ""}`,
          cx: toX(x).toFixed(2),
          cy: toY(y).toFixed(2),
          r: points.length > 300 ? 3.5 : 6
        });
        dot2.append(shape("title", {}, named === "" ? id : `${id} · ${named}`));
        dot2.addEventListener("click", () => this.onSelect(number));
        svg.append(dot2);
        const name = points.length <= MOST_NAMED || isSelected ? nameAt(id, toX(x), toY(y), width, taken) : null;
        if (name !== null) names.push(name);
      });
      svg.append(...names);
      return svg;
    }
    legend(state) {
      const counts = labelCounts(state);
      if (counts.length === 0) return null;
      const numbers = classNumbers(state);
      const items = counts.slice(0, MOST_LABELS).map(([name, amount]) => element(
        "li",
        {},
        colourKey(numbers.get(name)),
        name,
        element("span", { class: "number" }, whole(amount))
      ));
      return element("div", {}, element("h3", {}, "Predicted label"), element("ul", { class: "legend" }, ...items));
    }
    neighbours(state, rows) {
      const choice = proteinChoice("near", state, this.onSelect);
      const box = element("div", {}, element("div", { class: "choice" }, choice));
      const index = this.numbers.indexOf(state.selected);
      if (index < 0) return box;
      const nearest = similarities(rows, index).map((similarity, other) => [other, similarity]).filter(([other]) => other !== index).sort((one, other) => other[1] - one[1]).slice(0, NEIGHBOURS);
      const body = element("tbody", {}, ...nearest.map(([other, similarity]) => element(
        "tr",
        {},
        element("th", { scope: "row" }, state.proteins[this.numbers[other] ?? 0]?.id ?? ""),
        element("td", { class: "number" }, similarity.toFixed(2))
      )));
      const header = element("tr", {}, element("th", { scope: "col" }, "Nearest"), element("th", { scope: "col", class: "number" }, "cosine"));
      const note = rows.length > 2 ? "Cosine of the vectors after the mean of all is taken off: 1 alike, −1 opposite." : "Cosine of the vectors.";
      box.append(element("table", {}, element("thead", {}, header), body), element("p", { class: "hint" }, note));
      return box;
    }
    embeddingsCsv(state) {
      const width = state.embeddings.get(this.numbers[0] ?? 0)?.embedding.length ?? 0;
      const header = ["id", "length", ...Array.from({ length: width }, (_, column) => `e${column + 1}`)];
      const rows = this.numbers.map((number) => {
        const embedding = state.embeddings.get(number);
        return [state.proteins[number]?.id ?? "", embedding?.length ?? 0, ...embedding?.embedding ?? []];
      });
      return csv([header, ...rows]);
    }
    embeddingsJson(state) {
      const results = this.numbers.map((number) => state.embeddings.get(number));
      return JSON.stringify({ model: state.model?.name ?? "", level: "protein", results });
    }
    projectionCsv(state) {
      const points = this.projection?.points ?? [];
      const rows = this.numbers.map((number, index) => [
        state.proteins[number]?.id ?? "",
        proteinLabel(state, state.predictions.get(number)),
        ...points[index] ?? []
      ]);
      return csv([["id", "label", "component_1", "component_2"], ...rows]);
    }
  };
  function scales(points, width, height) {
    const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
    const middle = (values) => (extreme(values, Math.max) + extreme(values, Math.min)) / 2;
    const span = (values) => (extreme(values, Math.max) - extreme(values, Math.min)) * 1.16 || 1;
    const [innerWidth, innerHeight] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
    const unit = Math.min(innerWidth / span(xs), innerHeight / span(ys));
    const [centreX, centreY] = [middle(xs), middle(ys)];
    return [
      (x) => MARGIN.left + innerWidth / 2 + (x - centreX) * unit,
      (y) => MARGIN.top + innerHeight / 2 - (y - centreY) * unit
    ];
  }
  function extreme(values, choose) {
    return values.reduce((best, value2) => choose(best, value2));
  }
  function axes(points, width, height, toX, toY, explained) {
    const percent = (share2) => `${(share2 * 100).toFixed(1)} %`;
    const base = height - MARGIN.bottom;
    const largest = extreme(points.flat().map(Math.abs), Math.max) || 1;
    const unit = 10 ** Math.floor(Math.log10(largest));
    const distance = tickStep(Math.ceil(largest / unit), 4) * unit;
    const end = width - MARGIN.right;
    const start = end - (toX(distance) - toX(0));
    return [
      shape("rect", { class: "axis", x: 0.5, y: 0.5, width: width - 1, height: base - 0.5, fill: "none", rx: 4 }),
      shape("line", { class: "axis", x1: 0, x2: width, y1: toY(0), y2: toY(0) }),
      shape("line", { class: "axis", x1: toX(0), x2: toX(0), y1: 0, y2: base }),
      shape("text", { class: "axis-text", x: 0, y: height - 9 }, `→ component 1, ${percent(explained[0])} · ↑ component 2, ${percent(explained[1])} of the variance`),
      ...width > 520 ? [
        shape("line", { class: "axis ruler", x1: start, x2: end, y1: height - 13, y2: height - 13 }),
        shape("text", { class: "axis-text", x: start - 6, y: height - 9, "text-anchor": "end" }, String(Number(distance.toPrecision(2))))
      ] : []
    ];
  }
  function nameAt(id, x, y, width, taken) {
    const text = id.length > 24 ? `${id.slice(0, 23)}…` : id;
    const length = text.length * 7;
    const places = [[x + 10, y], [x - 10 - length, y], [x - length / 2, y - 14], [x - length / 2, y + 14]];
    for (const [left, middle] of places) {
      const box = { left, right: left + length, top: middle - 6, bottom: middle + 6 };
      if (left < 2 || box.right > width - 2 || taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      return shape("text", { class: "point-text", x: left + length / 2, y: middle + 4, "text-anchor": "middle" }, text);
    }
    return null;
  }
  function overlap(one, other) {
    return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
  }

  // source/examples.ts
  var EXAMPLES = [
    {
      name: "Ubiquitin",
      about: "Marks proteins for degradation (human, 76 residues)",
      fasta: [
        ">P0CG48_1-76 ubiquitin",
        "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN",
        "IQKESTLHLVLRLRGG"
      ].join("\n")
    },
    {
      name: "GFP",
      about: "Green fluorescent protein of a jellyfish (238 residues)",
      fasta: [
        ">P42212 GFP",
        "MSKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTL",
        "VTTFSYGVQCFSRYPDHMKQHDFFKSAMPEGYVQERTIFFKDDGNYKTRAEVKFEGDTLV",
        "NRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNGIKVNFKIRHNIEDGSVQLAD",
        "HYQQNTPIGDGPVLLPDNHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK"
      ].join("\n")
    },
    {
      name: "Bacteriorhodopsin",
      about: "Light-driven proton pump with seven helices in the membrane (262 residues)",
      fasta: [
        ">P02945 bacteriorhodopsin",
        "MLELLPTAVEGVSQAQITGRPEWIWLALGTALMGLGTLYFLVKGMGVSDPDAKKFYAITT",
        "LVPAIAFTMYLSMLLGYGLTMVPFGGEQNPIYWARYADWLFTTPLLLLDLALLVDADQGT",
        "ILALVGADGIMIGTGLVGALTKVYSYRFVWWAISTAAMLYILYVLFFGFTSKAESMRPEV",
        "ASTFKVLRNVTVVLWSAYPVVWLIGSEGAGIVPLNIETLLFMVLDVSAKVGFGLILLRSR",
        "AIFGEAEAPEPSAGDGAAATSD"
      ].join("\n")
    },
    {
      name: "Aquaporin-1",
      about: "Lets water through the membrane and keeps protons out (human, 269 residues)",
      fasta: [
        ">P29972 aquaporin-1",
        "MASEFKKKLFWRAVVAEFLATTLFVFISIGSALGFKYPVGNNQTAVQDNVKVSLAFGLSI",
        "ATLAQSVGHISGAHLNPAVTLGLLLSCQISIFRALMYIIAQCVGAIVATAILSGITSSLT",
        "GNSLGRNDLADGVNSGQGLGIEIIGTLQLVLCVLATTDRRRRDLGGSAPLAIGLSVALGH",
        "LLAIDYTGCGINPARSFGSAVITHNFSNHWIFWVGPFIGGALAVLIYDFILAPRSSDLTD",
        "RVKVWTSGQVEEYDLDADDINSRVEMKPK"
      ].join("\n")
    }
  ];
  var PLACES = [
    "membrane	A protein located at the cell membrane.",
    "cytoplasm	A protein located in the cytoplasm.",
    "reticulum	A protein located in the endoplasmic reticulum.",
    "Golgi	A protein located in the Golgi apparatus.",
    "lysosome	A protein located in the lysosome or vacuole.",
    "mitochondrion	A protein located in the mitochondrion.",
    "nucleus	A protein located in the nucleus.",
    "peroxisome	A protein located in the peroxisome.",
    "plastid	A protein located in the plastid.",
    "extracellular	A protein that is secreted."
  ];

  // source/prompts.ts
  var HEADER = /^(label|class)\t(prompt|text|name)$/i;
  var LONGEST_LABEL = 200;
  var LONGEST_QUOTED = 40;
  function readPrompts(typed, most) {
    const lines = typed.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    if (HEADER.test(lines[0] ?? "")) lines.shift();
    const prompts = lines.map(readLine);
    const labels = /* @__PURE__ */ new Set();
    for (const { label: label2 } of prompts) {
      if (labels.has(label2)) return { prompts, problem: `“${shortened(label2, LONGEST_QUOTED)}” is there twice: give each once.` };
      labels.add(label2);
    }
    const problem = prompts.length > most ? `${prompts.length} descriptions, and the server takes ${most} at most.` : "";
    return { prompts, problem };
  }
  function readLine(line) {
    const tab = line.indexOf("	");
    const [label2, text] = tab < 0 ? [line, line] : [line.slice(0, tab), line.slice(tab + 1).trim()];
    return { label: label2.slice(0, LONGEST_LABEL).trim(), text };
  }
  function sentText({ label: label2, text }) {
    return label2 === text ? text : { label: label2, text };
  }

  // source/sequences.ts
  var SEQUENCE_COLUMNS = ["sequence", "mutated_sequence", "protein", "seq"];
  var ID_COLUMNS = ["id", "name", "acc", "entry"];
  function readSequences(text) {
    const clean = text.replace(/^\uFEFF/, "").replaceAll(/\r\n?/g, "\n");
    if (clean.trim() === "") return { proteins: [], format: "", problem: "" };
    if (clean.includes("\0")) {
      return { proteins: [], format: "", problem: "This is not text. A compressed file must be unpacked first." };
    }
    if (/^\s*[>;]/.test(clean)) return { proteins: unique(readFasta(clean)), format: "FASTA", problem: "" };
    const header = clean.trimStart().split("\n", 1)[0] ?? "";
    const delimiter = [",", ";", "	"].find((mark) => header.includes(mark));
    return delimiter === void 0 ? readPlain(clean) : readTable(clean.trimStart(), delimiter);
  }
  function readFasta(text) {
    const proteins = [];
    for (const line of text.split("\n")) {
      const last = proteins.at(-1);
      if (line.startsWith(">")) proteins.push({ id: line.slice(1).trim().split(/\s/, 1)[0] ?? "", sequence: "" });
      else if (last !== void 0 && !line.startsWith(";")) last.sequence += line.trim();
    }
    return proteins;
  }
  function readPlain(text) {
    const proteins = [];
    for (const paragraph of text.split(/\n[ \t]*\n/)) {
      const lines = paragraph.split("\n").map((line) => line.trim()).filter((line) => line !== "");
      const widths = lines.map((line) => line.replaceAll(/[\s0-9]/g, "").length);
      const isWrapped = lines.length > 1 && widths.slice(0, -1).every((width) => width === widths[0]) && (widths[0] ?? 0) >= 40 && (widths.at(-1) ?? 0) <= (widths[0] ?? 0);
      const sequences = isWrapped ? [lines.join("")] : lines;
      proteins.push(...sequences.map((sequence) => ({ id: "", sequence })));
    }
    const format = proteins.length > 1 ? "one sequence a line" : "plain sequence";
    return { proteins: unique(proteins), format, problem: "" };
  }
  function readTable(text, delimiter) {
    const rows = splitTable(text, delimiter);
    if (rows === null) {
      return { proteins: [], format: "table", problem: 'A quote (") is opened and never closed.' };
    }
    const header = (rows[0] ?? []).map((name) => name.trim().toLowerCase());
    const column = (names) => names.map((name) => header.indexOf(name)).find((index) => index >= 0);
    const sequenceColumn = column(SEQUENCE_COLUMNS);
    const idColumn = column(ID_COLUMNS);
    if (sequenceColumn === void 0) {
      const names = header.slice(0, 8).map((name) => `“${name.slice(0, 40)}”`).join(", ");
      const problem = `The first line has no column “sequence”, only ${names}. Name the column of the sequences so.`;
      return { proteins: [], format: "table", problem };
    }
    const proteins = rows.slice(1).filter((row) => row.some((cell2) => cell2.trim() !== "")).map((row) => ({
      id: idColumn === void 0 ? "" : (row[idColumn] ?? "").trim(),
      sequence: (row[sequenceColumn] ?? "").trim()
    }));
    return { proteins: unique(proteins), format: "table", problem: "" };
  }
  function splitTable(text, delimiter) {
    const rows = [[]];
    let at = 0;
    while (at < text.length) {
      let quoted = "";
      if (text[at] === '"') {
        const end = closingQuote(text, at);
        if (end < 0) return null;
        quoted = text.slice(at + 1, end).replaceAll('""', '"');
        at = end + 1;
      }
      const start = at;
      while (at < text.length && text[at] !== delimiter && text[at] !== "\n") at++;
      rows.at(-1)?.push(quoted + text.slice(start, at));
      if (text[at] === "\n") rows.push([]);
      at++;
    }
    return rows;
  }
  function closingQuote(text, start) {
    let at = text.indexOf('"', start + 1);
    while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
    return at;
  }
  function unique(proteins) {
    const asked = new Set(proteins.map((protein) => protein.id));
    const given = /* @__PURE__ */ new Set();
    const last = /* @__PURE__ */ new Map();
    return proteins.map(({ id, sequence }, index) => {
      const wanted = id === "" ? `protein_${index + 1}` : id;
      let name = wanted;
      let number = last.get(wanted) ?? 1;
      while (given.has(name) || name !== wanted && asked.has(name)) name = `${wanted}_${++number}`;
      last.set(wanted, number);
      given.add(name);
      return { id: name, sequence };
    });
  }

  // source/server.ts
  var ServerError = class extends Error {
    constructor(message, status, requestId = "", details = [], isOfText = false) {
      super(message);
      this.status = status;
      this.requestId = requestId;
      this.details = details;
      this.isOfText = isOfText;
    }
    status;
    requestId;
    details;
    isOfText;
  };
  var LONGEST_ID = 200;
  var TEXT_PLACE = /^(?:body\.)?texts[.[](\d+)[^:]*/;
  var MOST_ATTEMPTS = 8;
  var LONGEST_WAIT_SECONDS = 60;
  var CHUNK_SEQUENCES = 64;
  var CHUNK_TOKENS = 16384;
  async function request(path, body, call) {
    for (let attempt = 1; ; attempt++) {
      const response = await send(path, body, call.signal);
      if (response.ok) return await response.json();
      const isBusy = response.status === 429 || response.status === 503;
      if (!isBusy || attempt === MOST_ATTEMPTS) throw await refusal(response);
      const asked = Number(response.headers.get("Retry-After") ?? "");
      const seconds = Math.min(Math.max(Number.isFinite(asked) ? asked : 0, 1), LONGEST_WAIT_SECONDS);
      const state = response.status === 429 ? "The server is busy" : "The server is not ready";
      call.onWait(`${state}: trying again in ${Math.ceil(seconds)} s (attempt ${attempt + 1} of ${MOST_ATTEMPTS}).`);
      await pause(seconds, call.signal);
      call.onWait("");
    }
  }
  async function send(path, body, signal) {
    const options = { signal, headers: { Accept: "application/json" } };
    if (body !== null) {
      options.method = "POST";
      options.headers = { Accept: "application/json", "Content-Type": "application/json" };
      options.body = JSON.stringify(body);
    }
    try {
      return await fetch(path, options);
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ServerError("The server cannot be reached. Is it still running?", 0);
    }
  }
  async function refusal(response) {
    let body = {};
    try {
      body = await response.json();
    } catch {
    }
    const message = typeof body.error === "string" ? body.error : `The server answered ${response.status}.`;
    const requestId = typeof body.request_id === "string" ? body.request_id : response.headers.get("X-Request-ID");
    const text = TEXT_PLACE.exec(message);
    if (text !== null) {
      const place = `Description ${Number(text[1]) + 1}`;
      return new ServerError(message.replace(TEXT_PLACE, place), response.status, requestId ?? "", [], true);
    }
    const details = Array.isArray(body.details) ? body.details.map(detailText) : [];
    return new ServerError(message, response.status, requestId ?? "", details);
  }
  function detailText(detail) {
    if (typeof detail === "string") return detail;
    if (typeof detail !== "object" || detail === null) return String(detail);
    const fields = Object.entries(detail).filter(([, value2]) => value2 !== null && value2 !== "");
    return fields.map(([key, value2]) => `${key}: ${Array.isArray(value2) ? value2.join(" › ") : String(value2)}`).join(" · ");
  }
  function pause(seconds, signal) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, seconds * 1e3);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      }, { once: true });
    });
  }
  async function forEachProtein(path, settings, proteins, limits, call, onAnswer) {
    const { refused, chunks } = plan(proteins, limits);
    onAnswer([], refused, []);
    for (let chunk = chunks.shift(); chunk !== void 0; chunk = chunks.shift()) {
      try {
        const sequences = chunk.map(([, { id, sequence }]) => ({ id: id.slice(0, LONGEST_ID), sequence }));
        const answer = await request(path, { ...settings, sequences }, call);
        onAnswer(...byNumber(chunk, answer), answer.notes ?? []);
      } catch (error) {
        if (!(error instanceof ServerError) || error.isOfText || ![400, 413, 422].includes(error.status)) throw error;
        const [first] = chunk;
        if (chunk.length === 1 && first !== void 0) {
          onAnswer([], [[first[0], failure(first[1], error.message, "", error.details.join("; "))]], []);
        } else {
          const half = Math.ceil(chunk.length / 2);
          chunks.unshift(chunk.slice(0, half), chunk.slice(half));
        }
      }
    }
  }
  function plan(proteins, limits) {
    const refused = [];
    const chunks = [];
    let tokens = 0;
    const mostTokens = Math.min(limits.tokens, CHUNK_TOKENS, limits.bodyBytes / 2);
    const mostSequences = Math.min(limits.sequences, CHUNK_SEQUENCES);
    for (const numbered of proteins) {
      const [number, protein] = numbered;
      const length = residues(protein.sequence);
      if (length > limits.residues) {
        const what = `${length.toLocaleString("en-US")} residues, the limit is ${limits.residues.toLocaleString("en-US")}`;
        refused.push([number, failure(protein, what, "", "Cut the protein into domains.")]);
        continue;
      }
      const size = length + 2 + protein.id.length;
      const last = chunks.at(-1);
      if (last === void 0 || last.length === mostSequences || tokens + size > mostTokens) {
        chunks.push([numbered]);
        tokens = 0;
      } else {
        last.push(numbered);
      }
      tokens += size;
    }
    return { refused, chunks };
  }
  function residues(sequence) {
    return sequence.replaceAll(/[\s0-9]/g, "").length;
  }
  function byNumber(chunk, answer) {
    const failed = new Map(answer.failures.map((one) => [one.index, one]));
    const rest = chunk.filter((_, index) => !failed.has(index));
    const found = answer.results ?? answer.hits ?? [];
    if (rest.length !== found.length) throw new ServerError(`The server answered ${found.length} of ${rest.length} proteins.`, 200);
    const results = found.map((result, index) => [rest[index]?.[0] ?? 0, result]);
    const failures = [];
    chunk.forEach(([number, protein], index) => {
      const one = failed.get(index);
      if (one === void 0) return;
      const where = (one.where ?? "").replace(/^sequences\[\d+\]/, `no. ${number + 1}`);
      failures.push([number, failure(protein, one.error, where, one.advice ?? "")]);
    });
    return [results, failures];
  }
  function failure(protein, error, where, advice) {
    const sentence = /[.!?]$/.test(error) ? error : `${error}.`;
    return { id: protein.id, error: sentence, where, advice };
  }

  // source/form.ts
  var DRAFT = "chaperonin-draft-";
  var LONGEST_SHOWN2 = 3e5;
  var MOST_CLASSES = 12;
  var Form = class {
    /** `onRead` hears that what was typed is read anew. */
    constructor(onRun, onRead, onError) {
      this.onRun = onRun;
      this.onRead = onRead;
      this.onError = onError;
      this.listen();
      for (const field of [this.text, this.prompts]) {
        field.value = sessionStorage.getItem(DRAFT + field.id) ?? field.value;
        sessionStorage.removeItem(DRAFT + field.id);
      }
      this.fillExamples();
    }
    onRun;
    onRead;
    onError;
    file = null;
    reading = { proteins: [], format: "", problem: "" };
    described = { prompts: [], problem: "" };
    models = [];
    mostTexts = Number.POSITIVE_INFINITY;
    text = find("sequences");
    prompts = find("prompts");
    model = find("model");
    get proteins() {
      return this.reading.proteins;
    }
    /** None where no model reads them. */
    get descriptions() {
      return this.described.prompts;
    }
    get chosen() {
      return this.models.find((model) => model.name === this.model.value) ?? null;
    }
    get canRun() {
      return this.proteins.length > 0 && this.chosen !== null && this.described.problem === "";
    }
    listen() {
      const form = find("form");
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.onRun();
      });
      form.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.onRun();
      });
      for (const field of [this.text, this.prompts]) field.addEventListener("input", () => this.read());
      this.model.addEventListener("change", () => this.aboutModel());
      find("clear").addEventListener("click", () => {
        this.take(null);
        this.text.focus();
      });
      const file = find("file");
      file.addEventListener("change", () => {
        void this.takeFile(file.files?.[0]);
        file.value = "";
      });
      this.listenForDrops();
      find("ask-token").addEventListener("submit", () => {
        for (const field of [this.text, this.prompts]) sessionStorage.setItem(DRAFT + field.id, field.value);
      });
    }
    listenForDrops() {
      const drop = find("drop");
      const mark = (isOver) => drop.classList.toggle("over", isOver);
      drop.addEventListener("dragover", (event) => {
        event.preventDefault();
        mark(true);
      });
      drop.addEventListener("dragleave", () => mark(false));
      drop.addEventListener("drop", (event) => {
        event.preventDefault();
        mark(false);
        const file = event.dataTransfer?.files[0];
        const text = event.dataTransfer?.getData("text") ?? "";
        if (file !== void 0) void this.takeFile(file);
        else if (text !== "") this.take({ name: "", text });
      });
    }
    fillExamples() {
      find("examples").append(
        ...EXAMPLES.map((example) => button(example.name, () => this.addProtein(example.fasta), { title: example.about })),
        button("All", () => EXAMPLES.forEach((example) => this.addProtein(example.fasta)), { title: "All of these" })
      );
      find("prompt-examples").append(button("Places in the cell", () => this.addPrompts(PLACES), { title: "Ten of them" }));
    }
    async takeFile(file) {
      if (file === void 0) return;
      try {
        this.take({ name: file.name, text: await file.text() });
      } catch {
        this.onError(new ServerError(`${file.name} cannot be read.`, 0));
      }
    }
    /** A dropped or opened text, or null for none. A long one stays beside the field. */
    take(file) {
      const isLong = file !== null && file.text.length > LONGEST_SHOWN2;
      this.file = isLong ? file : null;
      this.text.value = isLong ? "" : file?.text ?? "";
      this.text.disabled = isLong;
      this.read();
    }
    /** One more example, unless it is there. */
    addProtein(fasta) {
      if (this.file !== null) this.take(null);
      const now = this.text.value.trim();
      if (now.includes(fasta)) return;
      this.text.value = now.startsWith(">") ? `${now}
${fasta}` : fasta;
      this.read();
    }
    /** More descriptions, without those that are there. */
    addPrompts(lines) {
      const now = this.prompts.value.split("\n").filter((line) => line.trim() !== "");
      this.prompts.value = [...now, ...lines.filter((line) => !now.includes(line))].join("\n");
      this.read();
    }
    /** Read the texts and say what was found. */
    read() {
      this.reading = readSequences(this.file?.text ?? this.text.value);
      const { proteins, format, problem } = this.reading;
      const total = proteins.reduce((sum, protein) => sum + residues(protein.sequence), 0);
      const name = this.file === null ? "" : `${this.file.name}: `;
      say("reading", proteins.length > 0 ? `${name}${count(proteins.length, "protein")}, ${count(total, "residue")} · ${format}` : "", problem);
      this.described = this.models.some((model) => model.readsText) ? readPrompts(this.prompts.value, this.mostTexts) : { prompts: [], problem: "" };
      say("prompts-reading", promptsText(this.described.prompts.length), this.described.problem);
      this.onRead();
    }
    /** What is served; the field of descriptions is there where they are read, `mostTexts` at once. */
    offer(models, mostTexts) {
      this.models = models;
      this.mostTexts = mostTexts;
      find("describe").hidden = !models.some((model) => model.readsText);
      this.model.replaceChildren(...models.map((model) => {
        const option = element("option", { value: model.name }, model.name);
        option.selected = model.isDefault;
        return option;
      }));
      this.aboutModel();
      this.read();
    }
    aboutModel() {
      find("model-about").textContent = this.chosen === null ? "" : modelText(this.chosen);
    }
  };
  function modelText({ task, readsText }) {
    if (task === null && readsText) return "No task of its own: it chooses between classes that you describe.";
    if (task === null) return "No task of its own: embeddings, contacts and variants only.";
    const shown = task.classes.slice(0, MOST_CLASSES).join(", ") + (task.classes.length > MOST_CLASSES ? ", …" : "");
    const wanted = task.kind === "regression" ? "a number" : shown;
    return `Predicts ${wanted} for each ${task.level === "sequence" ? "protein" : task.level === "residue" ? "residue" : "pair of residues"}.`;
  }
  function promptsText(found) {
    if (found === 0) return "In English, one a line; a label and a tab before it give it a short name.";
    return found === 1 ? "1 description: ranks the proteins" : `${count(found, "description")}: each protein gets its best`;
  }
  function say(id, found, problem) {
    const hint = find(id);
    hint.textContent = problem || found;
    hint.classList.toggle("wrong", problem !== "");
  }

  // source/run.ts
  function begin(model, proteins, prompts) {
    const state = { ...emptyState(), model, proteins, prompts, isRunning: true };
    proteins.forEach((protein, number) => {
      if (residues(protein.sequence) > 0) return;
      state.failures.set(number, failure(protein, "the sequence is empty.", "", "Give at least one residue, or leave it out."));
    });
    return state;
  }
  var Run = class {
    constructor(state, limits, call, watch) {
      this.state = state;
      this.limits = limits;
      this.call = call;
      this.watch = watch;
    }
    state;
    limits;
    call;
    watch;
    /** Every step; ServerError ends it, and what came before stays. */
    async go() {
      const { state, watch } = this;
      const model = state.model?.name;
      if (state.model?.task) {
        await this.ask("Predicting", "/v1/predict", { model }, (number, one) => state.predictions.set(number, one), watch.onPredictions);
      }
      await this.ask("Embedding", "/v1/embed", { model, level: "protein" }, (number, one) => state.embeddings.set(number, one), () => void 0);
      await this.compare();
    }
    /** Several descriptions are classes; a single one leaves no choice, and only its cosines are asked for. */
    async compare() {
      const { agreements, prompts } = this.state;
      const texts = prompts.map(sentText);
      if (texts.length > 1) {
        await this.ask("Comparing", "/v1/zero-shot", { texts }, (number, one) => agreements.set(number, one), this.watch.onAgreements);
      } else if (texts.length === 1) {
        await this.ask(
          "Comparing",
          "/v1/search",
          { texts, of: "protein", top: 1 },
          (number, { query, id, cosine }) => agreements.set(number, { id: query, label: id, cosines: { [id]: cosine } }),
          this.watch.onAgreements
        );
      }
    }
    /** Send what has not failed yet, and keep the answers by number. */
    async ask(doing, path, settings, keep, onAnswer) {
      const { state } = this;
      const proteins = usable(state).map((number) => [number, state.proteins[number]]);
      let finished = 0;
      this.watch.onProgress(doing, finished, proteins.length);
      await forEachProtein(path, settings, proteins, this.limits, this.call, (results, failures, notes) => {
        for (const [number, result] of results) keep(number, result);
        for (const [number, one] of failures) state.failures.set(number, one);
        for (const note of notes) state.notes.add(note);
        finished += results.length + failures.length;
        this.watch.onProgress(doing, finished, proteins.length);
        onAnswer();
      });
    }
  };

  // source/start.ts
  async function readModels(call) {
    const answer = await request("/v1/models", null, call);
    const readsText = answer.base.reads_text === true;
    const models = answer.models.map((model) => ({ name: model.name, task: model.task, isDefault: model.is_default === true, readsText }));
    const base = answer.base.name;
    if (base !== void 0 && !models.some((model) => model.name === base)) {
      models.push({ name: base, task: null, isDefault: false, readsText });
    }
    return models;
  }
  async function readServer(call) {
    const [info, models] = await Promise.all([
      request("/info", null, call),
      request("/v1/models", null, call)
    ]);
    const limit = (name) => info.limits?.[name] ?? Number.POSITIVE_INFINITY;
    const limits = {
      bodyBytes: limit("body_bytes"),
      sequences: limit("sequences"),
      texts: limit("texts"),
      residues: limit("residues"),
      tokens: limit("tokens")
    };
    const about = [models.base.name, info.version ? `chaperonin ${info.version}` : ""].filter((part) => part).join(" · ");
    return { limits, about };
  }

  // source/tabs.ts
  var Tabs = class {
    constructor(names, onOpen) {
      this.names = names;
      this.onOpen = onOpen;
      this.current = names[0] ?? "";
      for (const name of names) {
        this.tab(name).addEventListener("click", () => this.open(name));
        this.tab(name).addEventListener("keydown", (event) => this.onKey(event));
        find(name).dataset["title"] = this.tab(name).textContent ?? "";
      }
    }
    names;
    onOpen;
    current;
    open(name) {
      this.current = name;
      for (const other of this.names) {
        const isOpen = other === name;
        this.tab(other).setAttribute("aria-selected", String(isOpen));
        this.tab(other).tabIndex = isOpen ? 0 : -1;
        find(other).hidden = !isOpen;
      }
      this.onOpen();
    }
    onKey(event) {
      const names = this.names.filter((name2) => !this.tab(name2).hidden);
      const index = names.indexOf(this.current);
      const last = names.length - 1;
      const goals = {
        ArrowRight: index === last ? 0 : index + 1,
        ArrowLeft: index === 0 ? last : index - 1,
        Home: 0,
        End: last
      };
      const name = names[goals[event.key] ?? -1];
      if (name === void 0) return;
      event.preventDefault();
      this.open(name);
      this.tab(name).focus();
    }
    tab(name) {
      return find(`tab-${name}`);
    }
  };

  // source/variants.ts
  var LONGEST_SCANNED = 300;
  var ROWS = "KRHDENQSTCGPAVILMFYW";
  var STANDARD = "ACDEFGHIKLMNPQRSTVWY";
  var PART_TOKENS = 2e4;
  var AXIS2 = 16;
  var CELL = { width: 8, height: 9 };
  var LINE_GAP = 26;
  var LISTED2 = 8;
  var SAVED_WIDTH = 920;
  var VariantPanel = class {
    constructor(panel, onSelect, onScan) {
      this.panel = panel;
      this.onSelect = onSelect;
      this.onScan = onScan;
    }
    panel;
    onSelect;
    onScan;
    redraw = () => void 0;
    recolour() {
      this.redraw();
    }
    show(state, message, isBusy) {
      this.redraw = () => void 0;
      const found = state.scores.get(state.selected);
      this.panel.classList.toggle("filled", found !== void 0);
      if (state.proteins.length === 0) {
        this.panel.replaceChildren(nothing("No variants yet", "For each position and each of the 20 residues: how well the model thinks it fits, against the wild type."));
        return;
      }
      const sequence = letters(state, state.selected);
      const choice = element("div", { class: "choice" }, proteinChoice("variant-protein", state, this.onSelect));
      if (sequence.length > LONGEST_SCANNED) {
        const text = `${residueCount(sequence.length)}; this page scans up to ${LONGEST_SCANNED}. The command chaperonin score has no such limit.`;
        this.panel.replaceChildren(element("div", { class: "head" }, choice), nothing("Too long for this page", text));
        return;
      }
      choice.append(...this.order(found?.protocol ?? "masked-marginal", sequence.length, isBusy));
      const head = element("div", { class: "head" }, choice);
      if (found === void 0) {
        const text = message || "Log-odds of each substitution against the wild type: below 0 the model likes it less.";
        this.panel.replaceChildren(head, nothing(isBusy ? "Scoring…" : "Scan every position", text));
        return;
      }
      const id = state.proteins[state.selected]?.id ?? "";
      const scan = readScan(id, sequence, found.scores);
      head.append(element(
        "div",
        { class: "row" },
        button("Picture, PNG", () => savePicture(fileName(id, "variants.png"), picture2(scan)), { id: "save-variants-png" }),
        button("CSV", () => saveText(fileName(id, "variants.csv"), csv([["mutant", "score"], ...found.scores.map((one) => [one.mutant, one.score])])), { id: "save-variants-csv", "aria-label": "Variant scores, CSV" })
      ));
      this.panel.replaceChildren(head, this.body(scan));
    }
    order(protocol, length, isBusy) {
      const select = element(
        "select",
        { id: "protocol" },
        element("option", { value: "masked-marginal" }, "masked marginal"),
        element("option", { value: "wt-marginal" }, "wild-type marginal (fast)")
      );
      select.value = protocol;
      const start = button(`Score ${whole(length * 19)} substitutions`, () => this.onScan(select.value), { id: "scan" });
      start.disabled = isBusy;
      return [element("div", {}, element("label", { for: "protocol" }, "Protocol"), select), start];
    }
    body(scan) {
      const canvas = element("canvas", {
        class: "picture",
        id: "variant-map",
        tabindex: "0",
        role: "img",
        "aria-label": `Scores of every substitution in ${scan.id}, ${residueCount(scan.sequence.length)}. Arrow keys move over the cells.`
      });
      const readout = new Readout("Point at the map, or move over it with the arrow keys. Dots mark the wild type.");
      const main = element("div", {}, readout.element, canvas);
      let layout = layOut(0, scan.sequence.length);
      let cell2 = null;
      this.redraw = () => {
        if (layout.width === 0) return;
        canvas.style.width = `${layout.width}px`;
        canvas.style.height = `${layout.height}px`;
        drawScan(sharpen(canvas, layout.width, layout.height), layout, scan, PALETTES[currentTheme()], cell2);
      };
      onResize(main, (width) => {
        layout = layOut(width, scan.sequence.length);
        this.redraw();
      });
      explore(canvas, { columns: scan.sequence.length, rows: ROWS.length }, (x, y) => cellAt(layout, x, y, scan.sequence.length), (next) => {
        cell2 = next;
        this.redraw();
        if (next === null) readout.show("", "");
        else readout.show(...cellText(scan, next));
      });
      const aside = element("div", { class: "aside" }, scale2(scan.limit), sensitive(scan));
      return element("div", { class: "beside" }, main, aside);
    }
  };
  function scanParts(sequence, protocol, mostTokens) {
    if (protocol === "wt-marginal") return [null];
    const positions = [...sequence].map((from, index) => ({ from, index })).filter(({ from }) => STANDARD.includes(from));
    const each = Math.max(1, Math.floor(Math.min(PART_TOKENS, mostTokens) / (sequence.length + 2)));
    const parts = [];
    for (let start = 0; start < positions.length; start += each) {
      parts.push(positions.slice(start, start + each).flatMap(({ from, index }) => [...STANDARD].filter((to) => to !== from).map((to) => `${from}${index + 1}${to}`)));
    }
    return parts;
  }
  function readScan(id, sequence, scores) {
    const values = Array.from(sequence, () => Array.from(ROWS, () => null));
    for (const { mutant, score } of scores) {
      const [, position, to] = /^[A-Z](\d+)([A-Z])$/.exec(mutant) ?? [];
      const row = values[Number(position) - 1];
      if (row !== void 0 && to !== void 0 && ROWS.includes(to)) row[ROWS.indexOf(to)] = score;
    }
    const sizes = scores.map((one) => Math.abs(one.score)).sort((one, other) => one - other);
    return { id, sequence, values, limit: sizes[Math.floor(sizes.length * 0.98)] || 1 };
  }
  function cellText(scan, [column, row]) {
    const from = scan.sequence[column] ?? "";
    const to = ROWS[row] ?? "";
    const score = scan.values[column]?.[row];
    if (from === to) return ["0", `${from}${column + 1} is the wild type`];
    if (score === null || score === void 0) return ["–", `${from}${column + 1}${to} has no score`];
    const meaning = score < 0 ? "the model likes it less than the wild type" : "the model likes it better than the wild type";
    return [signed2(score), `${from}${column + 1}${to}: ${meaning}`];
  }
  function signed2(score) {
    return `${score < 0 ? "−" : "+"}${Math.abs(score).toFixed(2)}`;
  }
  function scale2(limit) {
    return element(
      "div",
      {},
      element("h3", {}, "Score, log-odds"),
      element("div", { class: "scale effect" }),
      element("div", { class: "ends" }, element("span", {}, signed2(-limit)), element("span", {}, "0"), element("span", {}, signed2(limit)))
    );
  }
  function sensitive(scan) {
    const means = scan.values.map((values, position) => {
      const known2 = values.filter((value2) => value2 !== null);
      return [position, known2.length > 0 ? known2.reduce((sum, value2) => sum + value2, 0) / known2.length : Number.POSITIVE_INFINITY];
    });
    const rows = means.filter(([, mean]) => Number.isFinite(mean)).sort((one, other) => one[1] - other[1]).slice(0, LISTED2);
    return element(
      "div",
      {},
      element("h3", {}, "Least tolerant positions"),
      element("table", { "aria-label": "Least tolerant positions" }, element("tbody", {}, ...rows.map(([position, mean]) => element(
        "tr",
        {},
        element("th", { scope: "row" }, `${scan.sequence[position] ?? ""}${position + 1}`),
        element("td", { class: "number" }, signed2(mean))
      )))),
      element("p", { class: "hint" }, "Mean score over the 19 substitutions. Scores are the base model's.")
    );
  }
  function layOut(width, length) {
    const inner = width - AXIS2 - 8;
    const fitting = Math.floor(inner / CELL.width);
    const columns = Math.max(1, Math.min(length, fitting >= 20 ? Math.floor(fitting / 10) * 10 : fitting));
    const lines = Math.ceil(length / columns);
    const unit = Math.min(Math.max(inner / columns, 1), CELL.width * 2);
    return { width, columns, lines, unit, height: lines * (ROWS.length * CELL.height + LINE_GAP) };
  }
  function cellAt(layout, x, y, length) {
    const lineHeight = ROWS.length * CELL.height + LINE_GAP;
    const line = Math.floor(y / lineHeight);
    const row = Math.floor((y - line * lineHeight) / CELL.height);
    const column = Math.floor((x - AXIS2) / layout.unit);
    const position = line * layout.columns + column;
    const isInside = column >= 0 && column < layout.columns && row >= 0 && row < ROWS.length && position < length;
    return isInside ? [position, row] : null;
  }
  function drawScan(context, layout, scan, palette, cell2) {
    context.fillStyle = palette.paper;
    context.fillRect(0, 0, layout.width, layout.height);
    context.textBaseline = "middle";
    context.textAlign = "center";
    scan.values.forEach((values, position) => drawPosition(context, layout, scan, palette, position, values));
    context.font = "9px ui-monospace, Menlo, Consolas, monospace";
    context.fillStyle = palette.ink;
    for (let line = 0; line < layout.lines; line++) {
      for (let row = 0; row < ROWS.length; row++) {
        context.fillText(ROWS[row] ?? "", AXIS2 / 2 - 1, top(line) + (row + 0.5) * CELL.height);
      }
    }
    if (cell2 !== null) {
      const [position, row] = cell2;
      const [x, y] = corner(layout, position);
      context.strokeStyle = palette.accent;
      context.lineWidth = 2;
      context.strokeRect(x, y + row * CELL.height, layout.unit, CELL.height);
    }
  }
  function drawPosition(context, layout, scan, palette, position, values) {
    const [x, y] = corner(layout, position);
    values.forEach((value2, row) => {
      const isWildType = ROWS[row] === scan.sequence[position];
      const share2 = value2 === null ? 0.5 : 0.5 + value2 / scan.limit / 2;
      context.fillStyle = value2 === null && !isWildType ? palette.missing : `rgb(${along(palette.effect, share2).join(" ")})`;
      context.fillRect(x, y + row * CELL.height, layout.unit + 0.3, CELL.height + 0.3);
      if (!isWildType) return;
      context.fillStyle = palette.ink;
      context.beginPath();
      context.arc(x + layout.unit / 2, y + (row + 0.5) * CELL.height, 1.7, 0, 2 * Math.PI);
      context.fill();
    });
    const below = y + ROWS.length * CELL.height;
    if (layout.unit >= 6) {
      context.fillStyle = palette.ink;
      context.font = "9px ui-monospace, Menlo, Consolas, monospace";
      context.fillText(scan.sequence[position] ?? "", x + layout.unit / 2, below + 6);
    }
    if ((position + 1) % 10 === 0) {
      context.fillStyle = palette.muted;
      context.font = "10px system-ui, sans-serif";
      context.fillText(String(position + 1), x + layout.unit / 2, below + 16);
    }
  }
  function corner(layout, position) {
    const line = Math.floor(position / layout.columns);
    return [AXIS2 + (position - line * layout.columns) * layout.unit, top(line)];
  }
  function top(line) {
    return line * (ROWS.length * CELL.height + LINE_GAP);
  }
  function picture2(scan) {
    const layout = layOut(SAVED_WIDTH, scan.sequence.length);
    const whole2 = element("canvas");
    const context = sharpen(whole2, layout.width, layout.height + 40, 2);
    const part = element("canvas");
    drawScan(sharpen(part, layout.width, layout.height, 2), layout, scan, PALETTES.light, null);
    context.fillStyle = PALETTES.light.paper;
    context.fillRect(0, 0, layout.width, layout.height + 40);
    context.fillStyle = PALETTES.light.ink;
    context.font = "600 15px system-ui, sans-serif";
    context.textBaseline = "middle";
    const legend = `log-odds from ${signed2(-scan.limit)} (red) over 0 (white) to ${signed2(scan.limit)} (blue); dots: wild type`;
    context.fillText(`${scan.id} · ${legend}`, AXIS2, 20, layout.width - AXIS2);
    context.drawImage(part, 0, 40, layout.width, layout.height);
    return whole2;
  }

  // source/page.ts
  var Page = class {
    state = emptyState();
    limits = null;
    running = null;
    /** The protein a panel asks the server about just now. */
    asking = { contacts: -1, scores: -1 };
    messages = { contacts: "", scores: "" };
    form = new Form(() => void this.run(), () => this.allowRun(), (error) => this.showError(error));
    tabs = new Tabs(["predictions", "descriptions", "embeddings", "contacts", "variants"], () => this.onTab());
    predictions = new PredictionPanel(find("predictions"), (number, tab) => {
      this.select(number);
      this.tabs.open(tab);
    });
    descriptions = new DescriptionPanel(find("descriptions"));
    embeddings = new EmbeddingPanel(find("embeddings"), (number) => this.select(number));
    contacts = new ContactPanel(find("contacts"), (number) => this.select(number));
    variants = new VariantPanel(find("variants"), (number) => this.select(number), (protocol) => {
      void this.scan(protocol);
    });
    async open() {
      find("stop").addEventListener("click", () => this.running?.abort());
      find("no-token").addEventListener("click", () => find("ask-token").close());
      onThemeChange(() => {
        this.contacts.recolour();
        this.variants.recolour();
      });
      this.form.read();
      this.showAll();
      await this.guarded(async () => {
        const [server, models] = await Promise.all([readServer(this.call()), readModels(this.call())]);
        this.limits = server.limits;
        find("server").textContent = server.about;
        find("tab-descriptions").hidden = !models.some((model) => model.readsText);
        this.form.offer(models, server.limits.texts);
      });
    }
    allowRun() {
      find("run").disabled = !this.form.canRun || this.limits === null || this.running !== null;
    }
    call(signal = new AbortController().signal) {
      return { signal, onWait: (message) => show("wait", message) };
    }
    async run() {
      const model = this.form.chosen;
      const limits = this.limits;
      if (this.running !== null || model === null || limits === null || !this.form.canRun) return;
      this.running = new AbortController();
      this.state = begin(model, this.form.proteins, this.form.descriptions);
      this.messages.contacts = this.messages.scores = "";
      this.asking.contacts = this.asking.scores = -1;
      this.predictions.reset();
      this.descriptions.reset(this.state);
      this.setRunning(true);
      if (model.task === null) this.openFirst();
      this.showAll();
      const answer = find("answer");
      if (answer.getBoundingClientRect().top > window.innerHeight / 2) answer.scrollIntoView();
      const run = new Run(this.state, limits, this.call(this.running.signal), {
        onProgress: (doing, finished, total) => this.showProgress(doing, finished, total),
        onPredictions: () => this.predictions.show(this.state),
        onAgreements: () => this.descriptions.show(this.state)
      });
      await this.guarded(() => run.go());
      this.running = null;
      this.state.isRunning = false;
      this.state.selected = usable(this.state)[0] ?? 0;
      this.setRunning(false);
      this.showAll();
      this.onTab();
    }
    /** Where a model without a task shows its first results; who looks at contacts or variants stays there. */
    openFirst() {
      if (this.state.prompts.length > 0 && this.tabs.current === "embeddings") this.tabs.open("descriptions");
      if (this.tabs.current === "predictions") this.tabs.open(this.state.prompts.length > 0 ? "descriptions" : "embeddings");
    }
    showProgress(doing, finished, total) {
      find("work-text").textContent = `${doing} ${whole(finished)} of ${count(total, "protein")}`;
      const bar = find("work-bar");
      bar.max = Math.max(total, 1);
      bar.value = finished;
    }
    setRunning(isRunning) {
      find("work").hidden = !isRunning;
      find("stop").hidden = !isRunning;
      find("run").hidden = isRunning;
      show("wait", "");
      this.allowRun();
    }
    select(number) {
      this.state.selected = number;
      this.messages.contacts = this.messages.scores = "";
      const focused = document.activeElement?.id;
      this.showAll();
      if (focused) document.getElementById(focused)?.focus();
      this.onTab();
    }
    onTab() {
      if (this.tabs.current === "contacts") void this.fetchContacts();
    }
    showAll() {
      this.predictions.show(this.state);
      this.descriptions.show(this.state);
      this.embeddings.show(this.state);
      this.showContacts();
      this.showVariants();
    }
    showContacts() {
      const isAsking = this.asking.contacts === this.state.selected;
      this.contacts.show(this.state, isAsking ? "The map is being computed…" : this.messages.contacts);
    }
    showVariants() {
      this.variants.show(this.state, this.messages.scores, this.asking.scores >= 0);
    }
    /** The contact map of the selected protein, once. */
    async fetchContacts() {
      const state = this.state;
      const number = state.selected;
      const protein = state.proteins[number];
      const isWanted = protein !== void 0 && !state.failures.has(number) && !state.contacts.has(number) && !state.isRunning;
      if (!isWanted || this.asking.contacts === number) return;
      this.asking.contacts = number;
      this.showContacts();
      await this.guarded(async () => {
        await forEachProtein("/v1/contacts", {}, [[number, protein]], this.limits, this.call(), (results, failures) => {
          for (const [, map] of results) state.contacts.set(number, map);
          for (const [, one] of failures) this.messages.contacts = failureText(one);
        });
      });
      if (this.state !== state) return;
      if (this.asking.contacts === number) this.asking.contacts = -1;
      if (state.selected === number) this.showContacts();
    }
    async scan(protocol) {
      const state = this.state;
      const number = state.selected;
      const protein = state.proteins[number];
      if (protein === void 0 || this.asking.scores >= 0) return;
      this.asking.scores = number;
      state.scores.delete(number);
      let message = "";
      await this.guarded(async () => {
        const scores = [];
        const parts = scanParts(letters(state, number), protocol, this.limits.tokens);
        for (const [index, variants] of parts.entries()) {
          if (this.state !== state) return;
          this.messages.scores = parts.length > 1 ? `Part ${index + 1} of ${parts.length}.` : "";
          this.showVariants();
          const body = { id: protein.id.slice(0, LONGEST_ID), sequence: protein.sequence, variants, protocol };
          const answer = await request("/v1/score", body, this.call());
          scores.push(...answer.scores);
          message = answer.failures.map(failureText).slice(0, 3).join(" ") || message;
        }
        if (scores.length > 0) state.scores.set(number, { protocol, scores });
      });
      if (this.state !== state) return;
      this.asking.scores = -1;
      this.messages.scores = message;
      this.showVariants();
    }
    /** Do it; what goes wrong is shown, and a stop is no error. */
    async guarded(work) {
      find("error").hidden = true;
      try {
        await work();
      } catch (error) {
        if (error instanceof DOMException && error.name === "AbortError") return;
        if (!(error instanceof ServerError)) throw error;
        if (error.status === 401) find("ask-token").showModal();
        else this.showError(error);
      } finally {
        show("wait", "");
      }
    }
    showError(error) {
      const parts = [element("p", {}, error.message)];
      if (error.details.length > 0) parts.push(element("ul", {}, ...error.details.map((detail) => element("li", {}, detail))));
      if (error.requestId) parts.push(element("p", {}, `Request ${error.requestId}`));
      find("error").replaceChildren(...parts);
      find("error").hidden = false;
    }
  };
  function failureText(one) {
    return [one.error, one.advice].filter((text) => text).join(" ");
  }
  function show(id, message) {
    find(id).textContent = message;
    find(id).hidden = message === "";
  }
  void new Page().open();
})();

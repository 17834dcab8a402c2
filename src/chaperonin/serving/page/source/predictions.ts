/** The table of predictions: label, probability, whether the protein resembles the training set. */

import { button, count, element, whole } from "./elements.ts";
import { csv, saveText } from "./files.ts";
import type { Failure, Prediction } from "./server.ts";
import { type State, classNumbers, colourClass, proteinLabel, usable } from "./state.ts";
import { nothing } from "./widgets.ts";

const ROWS_AT_ONCE = 100;
/** More labels than these are not counted above the table. */
const MOST_COUNTED = 4;

type Order = "id" | "length" | "label" | "probability" | "value";

export class PredictionPanel {
  private order: Order | null = null;
  private isDescending = false;
  private rows = ROWS_AT_ONCE;
  private readonly open = new Set<number>();

  constructor(
    private readonly panel: HTMLElement,
    private readonly onMap: (number: number, tab: "contacts" | "variants") => void,
  ) {}

  /** Forget what was opened and sorted for the run before. */
  reset(): void {
    this.order = null;
    this.rows = ROWS_AT_ONCE;
    this.open.clear();
  }

  show(state: State): void {
    const parts: Node[] = [];
    if (state.failures.size > 0) parts.push(failureList([...state.failures.values()], state.proteins.length));
    const isFilled = state.predictions.size > 0;
    if (isFilled) parts.push(this.head(state), this.table(state));
    else if (state.proteins.length === 0) parts.push(nothing("No proteins yet", EMPTY));
    else if (state.model?.task === null) parts.push(this.withoutTask(state));
    else if (state.isRunning) parts.push(nothing("Predicting…", "The first results appear here as they arrive."));
    else if (usable(state).length > 0) parts.push(nothing("No predictions", "The run ended before the first result."));
    this.panel.classList.toggle("filled", isFilled || state.failures.size > 0);
    this.panel.replaceChildren(...parts);
  }

  private withoutTask(state: State): HTMLElement {
    const text = `${state.model?.name ?? "This model"} predicts residues, not labels: its embeddings, contacts and `
      + "variant effects are in the other tabs. Choose a fine-tuned model for labels.";
    return nothing("This model has no task", text);
  }

  private head(state: State): HTMLElement {
    const summary = element("p", { class: "summary" });
    summary.append(element("b", {}, whole(state.predictions.size)), state.predictions.size === 1 ? " protein" : " proteins");
    const numbers = classNumbers(state);
    const counts = labelCounts(state);
    if (counts.length > MOST_COUNTED) summary.append(` · ${count(counts.length, "label")}`);
    else for (const [name, amount] of counts) {
      const key = element("span", { class: `key ${colourClass(numbers.get(name))}` });
      summary.append(" · ", element("span", {}, key, `${name} `, element("b", {}, whole(amount))));
    }
    const outside = [...state.predictions.values()].filter((one) => one.in_domain === false).length;
    if (outside > 0) summary.append(` · ${whole(outside)} outside the domain`);
    const save = button("Predictions, CSV", () => saveText("predictions.csv", predictionsCsv(state)), { id: "save-predictions" });
    return element("div", { class: "head" }, summary, element("div", { class: "row" }, save));
  }

  private table(state: State): HTMLElement {
    const columns = columnsOf(state);
    const header = element("tr", {}, ...columns.map((column) => this.headerCell(column, state)));
    header.append(element("th", { scope: "col" }, element("span", { class: "unseen" }, "Details")));
    const body = element("tbody");
    const sorted = this.sorted(state);
    for (const [number, prediction] of sorted.slice(0, this.rows)) {
      body.append(...this.row(state, number, prediction, columns));
    }
    const table = element("table", { "aria-label": "Predictions" }, element("thead", {}, header), body);
    const scroll = element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": "Predictions" }, table);
    if (sorted.length <= this.rows) return scroll;
    const more = button(`Show more (${whole(sorted.length - this.rows)} left)`, () => {
      this.rows += ROWS_AT_ONCE * 5;
      this.show(state);
    }, { class: "more" });
    return element("div", {}, scroll, more);
  }

  private headerCell(column: Column, state: State): HTMLElement {
    const cell = element("th", { scope: "col", class: column.className });
    if (column.order === null) {
      cell.textContent = column.name;
      return cell;
    }
    const order = column.order;
    if (this.order === order) cell.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
    cell.append(button(column.name, () => {
      this.isDescending = this.order === order ? !this.isDescending : order === "probability" || order === "value";
      this.order = order;
      this.show(state);
      this.panel.querySelector<HTMLElement>("[aria-sort] button")?.focus();
    }));
    return cell;
  }

  private sorted(state: State): [number, Prediction][] {
    const rows = [...state.predictions].sort(([one], [other]) => one - other);
    const order = this.order;
    if (order === null) return rows;
    const sign = this.isDescending ? -1 : 1;
    return rows.sort(([, one], [, other]) => sign * compare(one[order], other[order]));
  }

  private row(state: State, number: number, prediction: Prediction, columns: Column[]): HTMLElement[] {
    const row = element("tr");
    for (const column of columns) {
      const isName = column.order === "id";
      const cell = element(isName ? "th" : "td", { class: column.className });
      if (isName) cell.setAttribute("scope", "row");
      cell.append(column.cell(prediction));
      row.append(cell);
    }
    const id = `details-${number}`;
    const isOpen = this.open.has(number);
    const toggle = button(isOpen ? "▾" : "▸", () => {
      if (!this.open.delete(number)) this.open.add(number);
      this.show(state);
      this.panel.querySelector<HTMLElement>(`[aria-controls="${id}"]`)?.focus();
    }, { class: "toggle", "aria-expanded": String(isOpen), "aria-controls": id, "aria-label": `Details of ${prediction.id}` });
    row.append(element("td", {}, toggle));
    if (!isOpen) return [row];
    const details = element("td", { colspan: String(columns.length + 1) }, ...this.details(state, number, prediction));
    return [row, element("tr", { class: "details", id }, details)];
  }

  private details(state: State, number: number, prediction: Prediction): Node[] {
    const list = element("dl", { class: "number-list" });
    const numbers = classNumbers(state);
    const classes = Object.entries(prediction.probabilities ?? {}).sort((one, other) => other[1] - one[1]);
    for (const [name, probability] of classes) {
      const key = element("span", { class: `key ${colourClass(numbers.get(name))}` });
      list.append(element("dt", {}, key, name), element("dd", {}, share(probability)));
    }
    if (known(prediction.distance)) {
      list.append(element("dt", {}, "Distance from the training set"), element("dd", {}, `${prediction.distance.toFixed(2)} (above 1 is outside)`));
    }
    const parts: Node[] = [list];
    if (prediction.label && !numbers.has(prediction.label)) parts.push(element("p", { class: "residues" }, prediction.label));
    const maps = element("div", { class: "row" },
      button("Contact map", () => this.onMap(number, "contacts")),
      button("Variants", () => this.onMap(number, "variants")));
    return [...parts, maps];
  }
}

const EMPTY = "Paste sequences, open a file or choose an example, then run. Predictions, embeddings, contact maps and "
  + "the effects of variants appear here.";

interface Column {
  name: string;
  order: Order | null;
  className: string;
  cell: (prediction: Prediction) => Node | string;
}

function columnsOf(state: State): Column[] {
  const columns: Column[] = [
    { name: "Protein", order: "id", className: "", cell: (one) => one.id },
    { name: "Length", order: "length", className: "number wide-only", cell: (one) => whole(one.length) },
  ];
  const task = state.model?.task;
  if (task?.level === "sequence" && task.kind === "regression") {
    columns.push({ name: "Value", order: "value", className: "number", cell: value });
  } else {
    const numbers = classNumbers(state);
    columns.push(
      { name: "Label", order: "label", className: "", cell: (one) => label(one, numbers) },
      { name: "Probability", order: "probability", className: "", cell: (one) => (known(one.probability) ? share(one.probability) : "–") },
    );
  }
  columns.push({ name: "Domain", order: null, className: "", cell: domain });
  return columns;
}

function known(number: number | null | undefined): number is number {
  return typeof number === "number";
}

function value(prediction: Prediction): Node | string {
  if (!known(prediction.value)) return "–";
  if (!known(prediction.interval)) return fixed(prediction.value);
  const range = element("span", { class: "inside", title: "Nine of ten true values lie within it." }, ` ± ${fixed(prediction.interval)}`);
  return element("span", {}, fixed(prediction.value), range);
}

/** A class with its colour; labels of residues or pairs shortened, the details have all. */
function label(prediction: Prediction, numbers: Map<string, number>): Node | string {
  if (!prediction.label) return "–";
  const number = numbers.get(prediction.label);
  if (number === undefined) return element("code", {}, shortened(prediction.label));
  return element("span", {}, element("span", { class: `key ${colourClass(number)}` }), prediction.label);
}

function shortened(text: string): string {
  return text.length > 18 ? `${text.slice(0, 18)}…` : text;
}

function domain(prediction: Prediction): Node | string {
  if (prediction.in_domain === null || prediction.in_domain === undefined) return "–";
  if (prediction.in_domain) return element("span", { class: "inside" }, "inside");
  const title = "Unlike the proteins the model was trained on: trust the label less.";
  return element("span", { class: "outside", title }, "outside");
}

/** A probability as a bar and a number. */
function share(probability: number): HTMLElement {
  const fill = element("span");
  fill.style.width = `${Math.min(Math.max(probability, 0), 1) * 100}%`;
  return element("span", { class: "share" }, element("span", { class: "bar", "aria-hidden": "true" }, fill), fixed(probability));
}

function fixed(value: number): string {
  return value.toFixed(3);
}

/** Labels with their counts, the commonest first. */
export function labelCounts(state: State): [string, number][] {
  const counts = new Map<string, number>();
  for (const prediction of state.predictions.values()) {
    const label = proteinLabel(state, prediction);
    if (label !== "") counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort((one, other) => other[1] - one[1]);
}

function compare(one: string | number | null | undefined, other: string | number | null | undefined): number {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true });
}

/** The columns that `chaperonin predict` writes. */
function predictionsCsv(state: State): string {
  const task = state.model?.task;
  const isValue = task?.level === "sequence" && task.kind === "regression";
  const classes = task?.level === "sequence" ? task.classes : [];
  const header = isValue ? ["value", "low", "high"] : ["label", "probability"];
  const rows = [...state.predictions].sort(([one], [other]) => one - other).map(([, one]) => [
    one.id,
    ...(isValue ? range(one) : [one.label ?? "", one.probability ?? ""]),
    typeof one.in_domain === "boolean" ? String(one.in_domain) : "",
    one.distance ?? "",
    ...(isValue ? [] : classes.map((name) => one.probabilities?.[name] ?? "")),
  ]);
  const shares = isValue ? [] : classes.map((name) => `p_${name}`);
  return csv([["id", ...header, "in_domain", "distance", ...shares], ...rows]);
}

function range({ value, interval }: Prediction): (string | number)[] {
  if (!known(value)) return ["", "", ""];
  return known(interval) ? [value, value - interval, value + interval] : [value, "", ""];
}

/** The proteins that have no result, and what to do about each. */
function failureList(failures: Failure[], total: number): HTMLElement {
  const list = element("ul", {}, ...failures.map(({ id, error, where, advice }) => {
    const place = where && where !== id ? ` (${where})` : "";
    return element("li", {}, element("b", {}, id), `${place}: ${error} `, element("span", { class: "hint" }, advice));
  }));
  const title = element("h3", {}, `${whole(failures.length)} of ${count(total, "protein")} could not be used`);
  return element("div", { class: "attention", id: "failures" }, title, list);
}

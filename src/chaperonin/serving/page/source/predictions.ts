/** The table of predictions: label, probability, whether the protein resembles the training set. */

import { button, element, shortened, whole } from "./elements.ts";
import { csv, saveText } from "./files.ts";
import type { Prediction } from "./server.ts";
import { type State, classNumbers, proteinLabel, usable } from "./state.ts";
import { type Column, ResultTable } from "./table.ts";
import { colourKey, countsOf, failureList, fixed, labelSummary, nothing, share } from "./widgets.ts";

export class PredictionPanel {
  private readonly table = new ResultTable<Prediction>("predictions");

  constructor(
    private readonly panel: HTMLElement,
    private readonly onMap: (number: number, tab: "contacts" | "variants") => void,
  ) {}

  /** Forget what was opened and sorted for the run before. */
  reset(): void {
    this.table.reset();
  }

  show(state: State): void {
    const parts: Node[] = [];
    if (state.failures.size > 0) parts.push(failureList(state));
    const isFilled = state.predictions.size > 0;
    if (isFilled) {
      this.table.show(columnsOf(state), state.predictions, (number, prediction) => this.details(state, number, prediction));
      parts.push(this.head(state), this.table.element);
    } else if (state.proteins.length === 0) parts.push(nothing("No proteins yet", EMPTY));
    else if (state.model?.task === null) parts.push(this.withoutTask(state));
    else if (state.isRunning) parts.push(nothing("Predicting…", "The first results appear here as they arrive."));
    else if (usable(state).length > 0) parts.push(nothing("No predictions", "The run ended before the first result."));
    this.panel.classList.toggle("filled", isFilled || state.failures.size > 0);
    this.panel.replaceChildren(...parts);
  }

  private withoutTask(state: State): HTMLElement {
    const name = state.model?.name ?? "This model";
    const text = state.model?.readsText ? `${name} chooses between classes that you describe: see the tab “Descriptions”.`
      : `${name} predicts residues, not labels: its embeddings, contacts and variant effects are in the other tabs. `
        + "Choose a fine-tuned model for labels.";
    return nothing("This model has no task", text);
  }

  private head(state: State): HTMLElement {
    const summary = labelSummary(state.predictions.size, labelCounts(state), classNumbers(state));
    const outside = [...state.predictions.values()].filter((one) => one.in_domain === false).length;
    if (outside > 0) summary.append(` · ${whole(outside)} outside the domain`);
    const save = button("Predictions, CSV", () => saveText("predictions.csv", predictionsCsv(state)), { id: "save-predictions" });
    return element("div", { class: "head" }, summary, element("div", { class: "row" }, save));
  }

  private details(state: State, number: number, prediction: Prediction): Node[] {
    const list = element("dl", { class: "number-list" });
    const numbers = classNumbers(state);
    const classes = Object.entries(prediction.probabilities ?? {}).sort((one, other) => other[1] - one[1]);
    for (const [name, probability] of classes) {
      list.append(element("dt", {}, colourKey(numbers.get(name)), name), element("dd", {}, share(probability)));
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

function columnsOf(state: State): Column<Prediction>[] {
  const columns: Column<Prediction>[] = [
    { name: "Protein", className: "", cell: (one) => one.id, order: (one) => one.id },
    { name: "Length", className: "number wide-only", cell: (one) => whole(one.length), order: (one) => one.length },
  ];
  const task = state.model?.task;
  if (task?.level === "sequence" && task.kind === "regression") {
    columns.push({ name: "Value", className: "number", cell: value, order: (one) => one.value, isLargestFirst: true });
  } else {
    const numbers = classNumbers(state);
    columns.push(
      { name: "Label", className: "", cell: (one) => label(one, numbers), order: (one) => one.label },
      { name: "Probability", className: "", cell: (one) => (known(one.probability) ? share(one.probability) : "–"), order: (one) => one.probability, isLargestFirst: true },
    );
  }
  columns.push({ name: "Domain", className: "", cell: domain, order: null });
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
  if (number === undefined) return element("code", {}, shortened(prediction.label, 19));
  return element("span", {}, colourKey(number), prediction.label);
}

function domain(prediction: Prediction): Node | string {
  if (prediction.in_domain === null || prediction.in_domain === undefined) return "–";
  if (prediction.in_domain) return element("span", { class: "inside" }, "inside");
  const title = "Unlike the proteins the model was trained on: trust the label less.";
  return element("span", { class: "outside", title }, "outside");
}

/** Labels with their counts, the commonest first. */
export function labelCounts(state: State): [string, number][] {
  return countsOf([...state.predictions.values()].map((prediction) => proteinLabel(state, prediction)));
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

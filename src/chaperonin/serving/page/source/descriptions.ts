/** Proteins and descriptions: the one that fits each protein best, and the proteins by how well one fits them. */

import { button, element, shortened } from "./elements.ts";
import { csv, saveText } from "./files.ts";
import type { Agreement } from "./server.ts";
import { type State, usable } from "./state.ts";
import { type Column, ResultTable } from "./table.ts";
import { colourKey, countsOf, failureList, fixed, labelSummary, nothing, share } from "./widgets.ts";

const LONGEST_SHOWN = 60;

export class DescriptionPanel {
  private readonly table = new ResultTable<Agreement>("descriptions");
  /** The label of the description that ranks the proteins; empty for the best of each. */
  private ranking = "";

  constructor(private readonly panel: HTMLElement) {}

  /** A single description ranks at once. */
  reset(state: State): void {
    this.table.reset();
    this.rankBy(state.prompts.length === 1 ? (state.prompts[0]?.label ?? "") : "");
  }

  private rankBy(label: string): void {
    this.ranking = label;
    this.table.sortBy(label === "" ? "" : COSINE);
  }

  show(state: State): void {
    const parts: Node[] = [];
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

  private head(state: State): HTMLElement {
    const best = hasChoice(state) ? countsOf([...state.agreements.values()].map((one) => one.label)) : [];
    const summary = labelSummary(state.agreements.size, best, numbersOf(state));
    if (!hasChoice(state)) summary.append(` · ranked by “${shortened(this.ranking, LONGEST_SHOWN)}”`);
    const save = button("Descriptions, CSV", () => saveText("descriptions.csv", descriptionsCsv(state)), { id: "save-descriptions" });
    const row = element("div", { class: "choice" });
    if (hasChoice(state)) row.append(this.rankChoice(state));
    row.append(save);
    return element("div", { class: "head" }, summary, row);
  }

  private rankChoice(state: State): HTMLElement {
    const select = element("select", { id: "rank-by" }, element("option", { value: "" }, "the order of the list"),
      ...state.prompts.map(({ label }) => element("option", { value: label }, shortened(label, LONGEST_SHOWN))));
    select.value = this.ranking;
    select.addEventListener("change", () => {
      this.rankBy(select.value);
      this.show(state);
      this.panel.querySelector<HTMLElement>("#rank-by")?.focus();
    });
    return element("div", {}, element("label", { for: "rank-by" }, "Rank by"), select);
  }

  private results(state: State): Node[] {
    const details = hasChoice(state) ? (_: number, one: Agreement) => [allOf(state, one)] : null;
    this.table.show(this.columns(state), state.agreements, details);
    return [this.table.element, element("p", { class: "hint" }, hasChoice(state) ? ABOUT_CHOICE : ABOUT_RANKING)];
  }

  private columns(state: State): Column<Agreement>[] {
    const numbers = numbersOf(state);
    const cosine = (one: Agreement) => one.cosines[this.ranking || one.label];
    const place = placesAmong([...state.agreements.values()].map(cosine));
    const choice: Column<Agreement>[] = [
      { name: "Best description", className: "", cell: (one) => element("span", {}, colourKey(numbers.get(one.label)), one.label), order: (one) => one.label },
      { name: "Share", className: "", cell: (one) => share(one.probability ?? 0), order: (one) => one.probability, isLargestFirst: true },
    ];
    return [
      { name: "Protein", className: "", cell: (one) => one.id, order: (one) => one.id },
      ...(hasChoice(state) ? choice : []),
      { name: COSINE, className: "start", cell: (one) => place(cosine(one)), order: cosine, isLargestFirst: true },
    ];
  }
}

const COSINE = "Cosine";
const EMPTY = "Write descriptions under the sequences, one a line, then run: each protein gets the one that fits it best. "
  + "A single description ranks the proteins.";
const ABOUT_CHOICE = "Shares are a softmax over your descriptions with the model's own temperature; they are not calibrated. "
  + "The cosine of the two vectors, −1 to 1, is that of the best description, or of the one that ranks; its dot runs from the "
  + "lowest to the highest of these proteins.";
const ABOUT_RANKING = "The cosine of the vectors of protein and text, −1 to 1; its dot runs from the lowest to the highest of these proteins.";

function hasChoice(state: State): boolean {
  return state.prompts.length > 1;
}

/** Numbers of the descriptions for their colours. */
function numbersOf(state: State): Map<string, number> {
  return new Map(state.prompts.map(({ label }, number) => [label, number]));
}

/** Draws a cosine as a dot on a line from the lowest to the highest, and a number. */
function placesAmong(cosines: (number | undefined)[]): (cosine: number | undefined) => Node | string {
  const known = cosines.filter((cosine) => cosine !== undefined);
  const lowest = known.reduce((one, other) => Math.min(one, other), 1);
  const span = known.reduce((one, other) => Math.max(one, other), -1) - lowest || 1;
  return (cosine) => {
    if (cosine === undefined) return "–";
    const dot = element("span");
    dot.style.left = `${((cosine - lowest) / span) * 100}%`;
    return element("span", { class: "share" }, element("span", { class: "place", "aria-hidden": "true" }, dot), signed(cosine));
  };
}

function signed(cosine: number): string {
  return fixed(cosine).replace("-", "−");
}

/** Every description with its share and cosine, the best first. */
function allOf(state: State, { probabilities, cosines }: Agreement): HTMLElement {
  const numbers = numbersOf(state);
  const sorted = Object.entries(probabilities ?? {}).sort((one, other) => other[1] - one[1]);
  const header = ["Description", "Share", COSINE].map((name) => element("th", { scope: "col" }, name));
  const rows = sorted.map(([label, probability]) => element("tr", {},
    element("th", { scope: "row" }, colourKey(numbers.get(label)), label),
    element("td", {}, share(probability)),
    element("td", { class: "number" }, signed(cosines[label] ?? 0))));
  return element("table", {}, element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...rows));
}

/** The best description of each protein and the share of all, as `chaperonin predict --prompts` writes them, and the cosines. */
function descriptionsCsv(state: State): string {
  const labels = state.prompts.map(({ label }) => label);
  const best = hasChoice(state) ? ["label", "probability", ...labels.map((label) => `p_${label}`)] : [];
  const rows = [...state.agreements].sort(([one], [other]) => one - other).map(([, one]) => [
    one.id,
    ...(hasChoice(state) ? [one.label, one.probability ?? "", ...labels.map((label) => one.probabilities?.[label] ?? "")] : []),
    ...labels.map((label) => one.cosines[label] ?? ""),
  ]);
  return csv([["id", ...best, ...labels.map((label) => `cosine_${label}`)], ...rows]);
}

/** What the page knows: the proteins of the last run and everything the server said about them. */

import type { Prompt } from "./prompts.ts";
import type { Protein } from "./sequences.ts";
import type { Agreement, ContactMap, Embedding, Failure, Model, Prediction, Score } from "./server.ts";

/** Everything is kept by the protein's number in the list. */
export interface State {
  model: Model | null;
  proteins: readonly Protein[];
  prompts: readonly Prompt[];
  predictions: Map<number, Prediction>;
  agreements: Map<number, Agreement>;
  /** What the server notes about the descriptions. */
  notes: Set<string>;
  embeddings: Map<number, Embedding>;
  contacts: Map<number, ContactMap>;
  scores: Map<number, { protocol: Protocol; scores: Score[] }>;
  failures: Map<number, Failure>;
  /** The protein that the maps show. */
  selected: number;
  isRunning: boolean;
}

export type Protocol = "masked-marginal" | "wt-marginal";

export function emptyState(): State {
  return {
    model: null,
    proteins: [],
    prompts: [],
    predictions: new Map(),
    agreements: new Map(),
    notes: new Set(),
    embeddings: new Map(),
    contacts: new Map(),
    scores: new Map(),
    failures: new Map(),
    selected: 0,
    isRunning: false,
  };
}

/** Numbers of the proteins that did not fail. */
export function usable(state: State): number[] {
  return [...state.proteins.keys()].filter((number) => !state.failures.has(number));
}

/** The letters that the server read: results hold no sequence, so blanks, digits and a stop are taken off here too. */
export function letters(state: State, number: number): string {
  return (state.proteins[number]?.sequence ?? "").replaceAll(/[\s0-9]/g, "").toUpperCase().replace(/\*$/, "");
}

/** Class numbers for colours: the task's classes in their order, then sets of several labels. */
export function classNumbers(state: State): Map<string, number> {
  const names = new Set(state.model?.task?.classes ?? []);
  for (const prediction of state.predictions.values()) names.add(proteinLabel(state, prediction));
  names.delete("");
  return new Map([...names].map((name, number) => [name, number]));
}

/** The label of a whole protein; empty where the task labels residues or pairs, or gives values. */
export function proteinLabel(state: State, prediction: Prediction | undefined): string {
  return state.model?.task?.level === "sequence" ? (prediction?.label ?? "") : "";
}

export function colourClass(number: number | undefined): string {
  return `class-${(number ?? 0) % 10}`;
}

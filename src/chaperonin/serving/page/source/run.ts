/** A run: predict, embed, compare with descriptions. The maps are asked for when they are looked at. */

import { type Prompt, sentText } from "./prompts.ts";
import type { Protein } from "./sequences.ts";
import {
  type Agreement,
  type Call,
  type Embedding,
  type Hit,
  type Limits,
  type Model,
  type Numbered,
  type Prediction,
  failure,
  forEachProtein,
  residues,
} from "./server.ts";
import { type State, emptyState, usable } from "./state.ts";

/** The state that a run begins with: empty sequences have failed already. */
export function begin(model: Model, proteins: readonly Protein[], prompts: readonly Prompt[]): State {
  const state = { ...emptyState(), model, proteins, prompts, isRunning: true };
  proteins.forEach((protein, number) => {
    if (residues(protein.sequence) > 0) return;
    state.failures.set(number, failure(protein, "the sequence is empty.", "", "Give at least one residue, or leave it out."));
  });
  return state;
}

/** Who looks on: the bar, and the tables as their rows come. */
export interface Watch {
  onProgress: (doing: string, finished: number, total: number) => void;
  onPredictions: () => void;
  onAgreements: () => void;
}

export class Run {
  constructor(
    private readonly state: State,
    private readonly limits: Limits,
    private readonly call: Call,
    private readonly watch: Watch,
  ) {}

  /** Every step; ServerError ends it, and what came before stays. */
  async go(): Promise<void> {
    const { state, watch } = this;
    const model = state.model?.name;
    if (state.model?.task) {
      await this.ask<Prediction>("Predicting", "/v1/predict", { model }, (number, one) => state.predictions.set(number, one), watch.onPredictions);
    }
    await this.ask<Embedding>("Embedding", "/v1/embed", { model, level: "protein" }, (number, one) => state.embeddings.set(number, one), () => undefined);
    await this.compare(); // last: a description that is refused ends the run
  }

  /** Several descriptions are classes; a single one leaves no choice, and only its cosines are asked for. */
  private async compare(): Promise<void> {
    const { agreements, prompts } = this.state;
    const texts = prompts.map(sentText);
    if (texts.length > 1) {
      await this.ask<Agreement>("Comparing", "/v1/zero-shot", { texts }, (number, one) => agreements.set(number, one), this.watch.onAgreements);
    } else if (texts.length === 1) {
      await this.ask<Hit>("Comparing", "/v1/search", { texts, of: "protein", top: 1 },
        (number, { query, id, cosine }) => agreements.set(number, { id: query, label: id, cosines: { [id]: cosine } }), this.watch.onAgreements);
    }
  }

  /** Send what has not failed yet, and keep the answers by number. */
  private async ask<Result>(
    doing: string,
    path: string,
    settings: object,
    keep: (number: number, result: Result) => void,
    onAnswer: () => void,
  ): Promise<void> {
    const { state } = this;
    const proteins = usable(state).map((number): Numbered => [number, state.proteins[number] as Protein]);
    let finished = 0;
    this.watch.onProgress(doing, finished, proteins.length);
    await forEachProtein<Result>(path, settings, proteins, this.limits, this.call, (results, failures, notes) => {
      for (const [number, result] of results) keep(number, result);
      for (const [number, one] of failures) state.failures.set(number, one);
      for (const note of notes) state.notes.add(note);
      finished += results.length + failures.length;
      this.watch.onProgress(doing, finished, proteins.length);
      onAnswer();
    });
  }
}

/** The page: reads the proteins, asks the server, hands the answers to the panels. */

import { onThemeChange } from "./colours.ts";
import { ContactPanel } from "./contacts.ts";
import { button, count, element, find, whole } from "./elements.ts";
import { EmbeddingPanel } from "./embeddings.ts";
import { EXAMPLES } from "./examples.ts";
import { PredictionPanel } from "./predictions.ts";
import { type Reading, readSequences } from "./sequences.ts";
import {
  type Call,
  type ContactMap,
  type Embedding,
  type Failure,
  type Limits,
  type Model,
  type Numbered,
  type Prediction,
  type Score,
  ServerError,
  failure,
  LONGEST_ID,
  forEachProtein,
  request,
  residues,
} from "./server.ts";
import { readModels, readServer } from "./start.ts";
import { type Protocol, type State, emptyState, letters, usable } from "./state.ts";
import { Tabs } from "./tabs.ts";
import { VariantPanel, scanParts } from "./variants.ts";

/** Where the text waits while the visitor is sent for a token. */
const DRAFT = "chaperonin-draft";
/** A text longer than this is kept beside the text field, which would become slow. */
const LONGEST_SHOWN = 300_000;

class Page {
  private state: State = emptyState();
  private limits: Limits | null = null;
  private models: Model[] = [];
  private file: { name: string; text: string } | null = null;
  private reading: Reading = { proteins: [], format: "", problem: "" };
  private running: AbortController | null = null;
  /** The protein a panel asks the server about just now. */
  private asking = { contacts: -1, scores: -1 };
  private readonly messages = { contacts: "", scores: "" };

  private readonly text = find<HTMLTextAreaElement>("sequences");
  private readonly model = find<HTMLSelectElement>("model");
  private readonly tabs = new Tabs(["predictions", "embeddings", "contacts", "variants"], () => this.onTab());
  private readonly predictions = new PredictionPanel(find("predictions"), (number, tab) => {
    this.select(number);
    this.tabs.open(tab);
  });
  private readonly embeddings = new EmbeddingPanel(find("embeddings"), (number) => this.select(number));
  private readonly contacts = new ContactPanel(find("contacts"), (number) => this.select(number));
  private readonly variants = new VariantPanel(find("variants"), (number) => this.select(number), (protocol) => {
    void this.scan(protocol);
  });

  async open(): Promise<void> {
    this.listen();
    this.text.value = sessionStorage.getItem(DRAFT) ?? this.text.value;
    sessionStorage.removeItem(DRAFT);
    this.read();
    this.showAll();
    await this.guarded(async () => {
      const [server, models] = await Promise.all([readServer(this.call()), readModels(this.call())]);
      this.limits = server.limits;
      find("server").textContent = server.about;
      this.models = models;
      this.fillModels();
      this.read();
    });
  }

  private listen(): void {
    find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.run();
    });
    find("form").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      void this.run();
    });
    this.text.addEventListener("input", () => this.read());
    this.model.addEventListener("change", () => this.aboutModel());
    find("stop").addEventListener("click", () => this.running?.abort());
    find("clear").addEventListener("click", () => {
      this.take(null);
      this.text.focus();
    });
    const file = find<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      void this.takeFile(file.files?.[0]);
      file.value = "";
    });
    this.listenForDrops();
    find("no-token").addEventListener("click", () => find<HTMLDialogElement>("ask-token").close());
    find("ask-token").addEventListener("submit", () => sessionStorage.setItem(DRAFT, this.text.value));
    find("examples").append(...EXAMPLES.map((example) => button(example.name, () => this.add(example.fasta), { title: example.about })),
      button("All", () => EXAMPLES.forEach((example) => this.add(example.fasta)), { title: "All of these" }));
    onThemeChange(() => {
      this.contacts.recolour();
      this.variants.recolour();
    });
  }

  private listenForDrops(): void {
    const drop = find("drop");
    const mark = (isOver: boolean) => drop.classList.toggle("over", isOver);
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
      if (file !== undefined) void this.takeFile(file);
      else if (text !== "") this.take({ name: "", text });
    });
  }

  private async takeFile(file: File | undefined): Promise<void> {
    if (file === undefined) return;
    try {
      this.take({ name: file.name, text: await file.text() });
    } catch {
      this.showError(new ServerError(`${file.name} cannot be read.`, 0));
    }
  }

  /** A dropped or opened text, or null for none. A long one stays beside the field. */
  private take(file: { name: string; text: string } | null): void {
    const isLong = file !== null && file.text.length > LONGEST_SHOWN;
    this.file = isLong ? file : null;
    this.text.value = isLong ? "" : (file?.text ?? "");
    this.text.disabled = isLong;
    this.read();
  }

  /** One more example, unless it is there. */
  private add(fasta: string): void {
    if (this.file !== null) this.take(null);
    const now = this.text.value.trim();
    if (now.includes(fasta)) return;
    this.text.value = now.startsWith(">") ? `${now}\n${fasta}` : fasta;
    this.read();
  }

  /** Read the text and say what was found. */
  private read(): void {
    this.reading = readSequences(this.file?.text ?? this.text.value);
    const { proteins, format, problem } = this.reading;
    const hint = find("reading");
    const total = proteins.reduce((sum, protein) => sum + residues(protein.sequence), 0);
    const name = this.file === null ? "" : `${this.file.name}: `;
    const found = proteins.length > 0 ? `${name}${count(proteins.length, "protein")}, ${count(total, "residue")} · ${format}` : "";
    hint.textContent = problem || found;
    hint.classList.toggle("wrong", problem !== "");
    find<HTMLButtonElement>("run").disabled = proteins.length === 0 || this.limits === null || this.running !== null;
  }

  private fillModels(): void {
    this.model.replaceChildren(...this.models.map((model) => {
      const option = element("option", { value: model.name }, model.name);
      option.selected = model.isDefault;
      return option;
    }));
    this.aboutModel();
  }

  private chosen(): Model | null {
    return this.models.find((model) => model.name === this.model.value) ?? null;
  }

  private aboutModel(): void {
    const task = this.chosen()?.task;
    const classes = task?.classes ?? [];
    const shown = classes.slice(0, 12).join(", ") + (classes.length > 12 ? ", …" : "");
    const wanted = task?.kind === "regression" ? "a number" : shown;
    find("model-about").textContent = task ? `Predicts ${wanted} for each ${task.level === "sequence" ? "protein" : task.level === "residue" ? "residue" : "pair of residues"}.`
      : "No task of its own: embeddings, contacts and variants only.";
  }

  private call(signal = new AbortController().signal): Call {
    return { signal, onWait: (message) => show("wait", message) };
  }

  /** Predict, then embed; the maps are asked for when they are looked at. */
  private async run(): Promise<void> {
    const model = this.chosen();
    if (this.running !== null || model === null || this.limits === null || this.reading.proteins.length === 0) return;
    this.running = new AbortController();
    this.state = { ...emptyState(), model, proteins: this.reading.proteins, isRunning: true };
    this.messages.contacts = this.messages.scores = "";
    this.asking.contacts = this.asking.scores = -1; // what is under way belongs to the run before
    this.predictions.reset();
    this.refuseEmpty();
    this.setRunning(true);
    if (model.task === null && this.tabs.current === "predictions") this.tabs.open("embeddings");
    this.showAll();
    const answer = find("answer");
    if (answer.getBoundingClientRect().top > window.innerHeight / 2) answer.scrollIntoView();
    const signal = this.running.signal;
    await this.guarded(async () => {
      if (model.task !== null) {
        await this.ask<Prediction>("/v1/predict", {}, "Predicting", this.state.predictions, signal, () => this.predictions.show(this.state));
      }
      await this.ask<Embedding>("/v1/embed", { level: "protein" }, "Embedding", this.state.embeddings, signal, () => undefined);
    });
    this.running = null;
    this.state.isRunning = false;
    this.state.selected = usable(this.state)[0] ?? 0;
    this.setRunning(false);
    this.showAll();
    this.onTab();
  }

  private refuseEmpty(): void {
    this.state.proteins.forEach((protein, number) => {
      if (residues(protein.sequence) > 0) return;
      this.state.failures.set(number, failure(protein, "the sequence is empty.", "", "Give at least one residue, or leave it out."));
    });
  }

  /** Send what has not failed yet and keep the answers by number. */
  private async ask<Result>(
    path: string,
    settings: object,
    doing: string,
    kept: Map<number, Result>,
    signal: AbortSignal,
    onAnswer: () => void,
  ): Promise<void> {
    const proteins = usable(this.state).map((number): Numbered => [number, this.state.proteins[number] as Numbered[1]]);
    let finished = 0;
    this.showProgress(doing, finished, proteins.length);
    const all = { model: this.state.model?.name, ...settings };
    await forEachProtein<Result>(path, all, proteins, this.limits as Limits, this.call(signal), (results, failures) => {
      for (const [number, result] of results) kept.set(number, result);
      for (const [number, one] of failures) this.state.failures.set(number, one);
      finished += results.length + failures.length;
      this.showProgress(doing, finished, proteins.length);
      onAnswer();
    });
  }

  private showProgress(doing: string, finished: number, total: number): void {
    find("work-text").textContent = `${doing} ${whole(finished)} of ${count(total, "protein")}`;
    const bar = find<HTMLProgressElement>("work-bar");
    bar.max = Math.max(total, 1);
    bar.value = finished;
  }

  private setRunning(isRunning: boolean): void {
    find("work").hidden = !isRunning;
    find("stop").hidden = !isRunning;
    find("run").hidden = isRunning;
    show("wait", "");
    this.read();
  }

  private select(number: number): void {
    this.state.selected = number;
    this.messages.contacts = this.messages.scores = "";
    const focused = document.activeElement?.id;
    this.showAll();
    if (focused) document.getElementById(focused)?.focus();
    this.onTab();
  }

  private onTab(): void {
    if (this.tabs.current === "contacts") void this.fetchContacts();
  }

  private showAll(): void {
    this.predictions.show(this.state);
    this.embeddings.show(this.state);
    this.showContacts();
    this.showVariants();
  }

  private showContacts(): void {
    const isAsking = this.asking.contacts === this.state.selected;
    this.contacts.show(this.state, isAsking ? "The map is being computed…" : this.messages.contacts);
  }

  private showVariants(): void {
    this.variants.show(this.state, this.messages.scores, this.asking.scores >= 0);
  }

  /** The contact map of the selected protein, once. */
  private async fetchContacts(): Promise<void> {
    const state = this.state;
    const number = state.selected;
    const protein = state.proteins[number];
    const isWanted = protein !== undefined && !state.failures.has(number) && !state.contacts.has(number) && !state.isRunning;
    if (!isWanted || this.asking.contacts === number) return;
    this.asking.contacts = number;
    this.showContacts();
    await this.guarded(async () => {
      await forEachProtein<ContactMap>("/v1/contacts", {}, [[number, protein]], this.limits as Limits, this.call(), (results, failures) => {
        for (const [, map] of results) state.contacts.set(number, map);
        for (const [, one] of failures) this.messages.contacts = failureText(one);
      });
    });
    if (this.state !== state) return;
    if (this.asking.contacts === number) this.asking.contacts = -1;
    if (state.selected === number) this.showContacts();
  }

  private async scan(protocol: Protocol): Promise<void> {
    const state = this.state;
    const number = state.selected;
    const protein = state.proteins[number];
    if (protein === undefined || this.asking.scores >= 0) return;
    this.asking.scores = number;
    state.scores.delete(number);
    let message = "";
    await this.guarded(async () => {
      const scores: Score[] = [];
      const parts = scanParts(letters(state, number), protocol, (this.limits as Limits).tokens);
      for (const [index, variants] of parts.entries()) {
        if (this.state !== state) return;
        this.messages.scores = parts.length > 1 ? `Part ${index + 1} of ${parts.length}.` : "";
        this.showVariants();
        const body = { id: protein.id.slice(0, LONGEST_ID), sequence: protein.sequence, variants, protocol };
        const answer = await request<{ scores: Score[]; failures: Failure[] }>("/v1/score", body, this.call());
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
  private async guarded(work: () => Promise<void>): Promise<void> {
    find("error").hidden = true;
    try {
      await work();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 401) find<HTMLDialogElement>("ask-token").showModal();
      else this.showError(error);
    } finally {
      show("wait", "");
    }
  }

  private showError(error: ServerError): void {
    const parts: Node[] = [element("p", {}, error.message)];
    if (error.details.length > 0) parts.push(element("ul", {}, ...error.details.map((detail) => element("li", {}, detail))));
    if (error.requestId) parts.push(element("p", {}, `Request ${error.requestId}`));
    find("error").replaceChildren(...parts);
    find("error").hidden = false;
  }
}

function failureText(one: Failure): string {
  return [one.error, one.advice].filter((text) => text).join(" ");
}

function show(id: string, message: string): void {
  find(id).textContent = message;
  find(id).hidden = message === "";
}

void new Page().open();

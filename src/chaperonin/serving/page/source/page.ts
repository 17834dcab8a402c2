/** The page: reads the proteins, asks the server, hands the answers to the panels. */

import { onThemeChange } from "./colours.ts";
import { ContactPanel } from "./contacts.ts";
import { DescriptionPanel } from "./descriptions.ts";
import { count, element, find, whole } from "./elements.ts";
import { EmbeddingPanel } from "./embeddings.ts";
import { Form } from "./form.ts";
import { PredictionPanel } from "./predictions.ts";
import { Run, begin } from "./run.ts";
import { type Call, type ContactMap, type Failure, type Limits, type Score, LONGEST_ID, ServerError, forEachProtein, request } from "./server.ts";
import { readModels, readServer } from "./start.ts";
import { type Protocol, type State, emptyState, letters, usable } from "./state.ts";
import { Tabs } from "./tabs.ts";
import { VariantPanel, scanParts } from "./variants.ts";

class Page {
  private state: State = emptyState();
  private limits: Limits | null = null;
  private running: AbortController | null = null;
  /** The protein a panel asks the server about just now. */
  private asking = { contacts: -1, scores: -1 };
  private readonly messages = { contacts: "", scores: "" };

  private readonly form = new Form(() => void this.run(), () => this.allowRun(), (error) => this.showError(error));
  private readonly tabs = new Tabs(["predictions", "descriptions", "embeddings", "contacts", "variants"], () => this.onTab());
  private readonly predictions = new PredictionPanel(find("predictions"), (number, tab) => {
    this.select(number);
    this.tabs.open(tab);
  });
  private readonly descriptions = new DescriptionPanel(find("descriptions"));
  private readonly embeddings = new EmbeddingPanel(find("embeddings"), (number) => this.select(number));
  private readonly contacts = new ContactPanel(find("contacts"), (number) => this.select(number));
  private readonly variants = new VariantPanel(find("variants"), (number) => this.select(number), (protocol) => {
    void this.scan(protocol);
  });

  async open(): Promise<void> {
    find("stop").addEventListener("click", () => this.running?.abort());
    find("no-token").addEventListener("click", () => find<HTMLDialogElement>("ask-token").close());
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

  private allowRun(): void {
    find<HTMLButtonElement>("run").disabled = !this.form.canRun || this.limits === null || this.running !== null;
  }

  private call(signal = new AbortController().signal): Call {
    return { signal, onWait: (message) => show("wait", message) };
  }

  private async run(): Promise<void> {
    const model = this.form.chosen;
    const limits = this.limits;
    if (this.running !== null || model === null || limits === null || !this.form.canRun) return;
    this.running = new AbortController();
    this.state = begin(model, this.form.proteins, this.form.descriptions);
    this.messages.contacts = this.messages.scores = "";
    this.asking.contacts = this.asking.scores = -1; // what is under way belongs to the run before
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
      onAgreements: () => this.descriptions.show(this.state),
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
  private openFirst(): void {
    if (this.state.prompts.length > 0 && this.tabs.current === "embeddings") this.tabs.open("descriptions");
    if (this.tabs.current === "predictions") this.tabs.open(this.state.prompts.length > 0 ? "descriptions" : "embeddings");
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
    this.allowRun();
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
    this.descriptions.show(this.state);
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

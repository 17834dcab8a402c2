/** The form: proteins and descriptions as they are typed, opened, dropped or taken from the examples. */

import { button, count, element, find } from "./elements.ts";
import { EXAMPLES, PLACES } from "./examples.ts";
import { type Prompt, type PromptReading, readPrompts } from "./prompts.ts";
import { type Protein, type Reading, readSequences } from "./sequences.ts";
import { type Model, ServerError, residues } from "./server.ts";

/** Where the texts wait while the visitor is sent for a token. */
const DRAFT = "chaperonin-draft-";
/** A text longer than this is kept beside the text field, which would become slow. */
const LONGEST_SHOWN = 300_000;
const MOST_CLASSES = 12;

export class Form {
  private file: { name: string; text: string } | null = null;
  private reading: Reading = { proteins: [], format: "", problem: "" };
  private described: PromptReading = { prompts: [], problem: "" };
  private models: Model[] = [];
  private mostTexts = Number.POSITIVE_INFINITY;

  private readonly text = find<HTMLTextAreaElement>("sequences");
  private readonly prompts = find<HTMLTextAreaElement>("prompts");
  private readonly model = find<HTMLSelectElement>("model");

  /** `onRead` hears that what was typed is read anew. */
  constructor(
    private readonly onRun: () => void,
    private readonly onRead: () => void,
    private readonly onError: (error: ServerError) => void,
  ) {
    this.listen();
    for (const field of [this.text, this.prompts]) {
      field.value = sessionStorage.getItem(DRAFT + field.id) ?? field.value;
      sessionStorage.removeItem(DRAFT + field.id);
    }
    this.fillExamples();
  }

  get proteins(): readonly Protein[] {
    return this.reading.proteins;
  }

  /** None where no model reads them. */
  get descriptions(): readonly Prompt[] {
    return this.described.prompts;
  }

  get chosen(): Model | null {
    return this.models.find((model) => model.name === this.model.value) ?? null;
  }

  get canRun(): boolean {
    return this.proteins.length > 0 && this.chosen !== null && this.described.problem === "";
  }

  private listen(): void {
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
    const file = find<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      void this.takeFile(file.files?.[0]);
      file.value = "";
    });
    this.listenForDrops();
    find("ask-token").addEventListener("submit", () => {
      for (const field of [this.text, this.prompts]) sessionStorage.setItem(DRAFT + field.id, field.value);
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

  private fillExamples(): void {
    find("examples").append(
      ...EXAMPLES.map((example) => button(example.name, () => this.addProtein(example.fasta), { title: example.about })),
      button("All", () => EXAMPLES.forEach((example) => this.addProtein(example.fasta)), { title: "All of these" }));
    find("prompt-examples").append(button("Places in the cell", () => this.addPrompts(PLACES), { title: "Ten of them" }));
  }

  private async takeFile(file: File | undefined): Promise<void> {
    if (file === undefined) return;
    try {
      this.take({ name: file.name, text: await file.text() });
    } catch {
      this.onError(new ServerError(`${file.name} cannot be read.`, 0));
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
  private addProtein(fasta: string): void {
    if (this.file !== null) this.take(null);
    const now = this.text.value.trim();
    if (now.includes(fasta)) return;
    this.text.value = now.startsWith(">") ? `${now}\n${fasta}` : fasta;
    this.read();
  }

  /** More descriptions, without those that are there. */
  private addPrompts(lines: readonly string[]): void {
    const now = this.prompts.value.split("\n").filter((line) => line.trim() !== "");
    this.prompts.value = [...now, ...lines.filter((line) => !now.includes(line))].join("\n");
    this.read();
  }

  /** Read the texts and say what was found. */
  read(): void {
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
  offer(models: Model[], mostTexts: number): void {
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

  private aboutModel(): void {
    find("model-about").textContent = this.chosen === null ? "" : modelText(this.chosen);
  }
}

/** What a model can do for proteins. */
function modelText({ task, readsText }: Model): string {
  if (task === null && readsText) return "No task of its own: it chooses between classes that you describe.";
  if (task === null) return "No task of its own: embeddings, contacts and variants only.";
  const shown = task.classes.slice(0, MOST_CLASSES).join(", ") + (task.classes.length > MOST_CLASSES ? ", …" : "");
  const wanted = task.kind === "regression" ? "a number" : shown;
  return `Predicts ${wanted} for each ${task.level === "sequence" ? "protein" : task.level === "residue" ? "residue" : "pair of residues"}.`;
}

/** What so many descriptions do. */
function promptsText(found: number): string {
  if (found === 0) return "In English, one a line; a label and a tab before it give it a short name.";
  return found === 1 ? "1 description: ranks the proteins" : `${count(found, "description")}: each protein gets its best`;
}

/** What was found in a field, or why nothing could be. */
function say(id: string, found: string, problem: string): void {
  const hint = find(id);
  hint.textContent = problem || found;
  hint.classList.toggle("wrong", problem !== "");
}

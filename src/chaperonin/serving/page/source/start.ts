/** What the page asks when it opens: the models, the limits, what runs here. */

import { type Call, type Limits, type Model, type Task, request } from "./server.ts";

interface ModelsAnswer {
  base: { name?: string; reads_text?: boolean };
  models: { name: string; task: Task | null; is_default?: boolean }[];
}

interface InfoAnswer {
  version?: string;
  limits?: Record<string, number>;
}

/** The base and its adapters; the default first chosen. */
export async function readModels(call: Call): Promise<Model[]> {
  const answer = await request<ModelsAnswer>("/v1/models", null, call);
  const readsText = answer.base.reads_text === true;
  const models = answer.models.map((model) => ({ name: model.name, task: model.task, isDefault: model.is_default === true, readsText }));
  const base = answer.base.name;
  if (base !== undefined && !models.some((model) => model.name === base)) {
    models.push({ name: base, task: null, isDefault: false, readsText });
  }
  return models;
}

/** The limits that requests keep to, and one line about the server. */
export async function readServer(call: Call): Promise<{ limits: Limits; about: string }> {
  const [info, models] = await Promise.all([
    request<InfoAnswer>("/info", null, call),
    request<ModelsAnswer>("/v1/models", null, call),
  ]);
  const limit = (name: string) => info.limits?.[name] ?? Number.POSITIVE_INFINITY;
  const limits = {
    bodyBytes: limit("body_bytes"),
    sequences: limit("sequences"),
    texts: limit("texts"),
    residues: limit("residues"),
    tokens: limit("tokens"),
  };
  const about = [models.base.name, info.version ? `chaperonin ${info.version}` : ""].filter((part) => part).join(" · ");
  return { limits, about };
}

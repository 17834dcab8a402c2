// Makes built/ (or the folder named on the command line) from source/. Run it as `npm ci && npm run build`.
//
// page.js begins with the SHA-256 of everything it is made from, so that a test can tell without Node whether
// built/ belongs to source/: of each input, in the order of the names, its name, a NUL, its bytes and a NUL.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const folder = import.meta.dirname;
const target = process.argv[2] ?? join(folder, "built");
const recipe = ["build.mjs", "package-lock.json", "package.json", "tsconfig.json"];

const digest = createHash("sha256");
for (const name of [...recipe, ...readdirSync(join(folder, "source")).map((name) => `source/${name}`)].sort()) {
  digest.update(name).update("\0").update(readFileSync(join(folder, name))).update("\0");
}

mkdirSync(target, { recursive: true });
for (const name of ["icon.svg", "index.html", "page.css"]) {
  copyFileSync(join(folder, "source", name), join(target, name));
}
await build({
  absWorkingDir: folder,
  entryPoints: ["source/page.ts"],
  outfile: join(target, "page.js"),
  bundle: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: `/* sources sha256:${digest.digest("hex")} */` },
});

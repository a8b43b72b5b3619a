/** Writes the licence file: one entry for every package whose code is in the bundle. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";

/** Packages that a dependency ships inside its own bundle, so that no module id names them. */
const BUNDLED_INSIDE: Record<string, string[]> = {
  "hls.js": [
    "@svta/cml-cmcd",
    "@svta/cml-id3",
    "@svta/cml-structured-field-values",
    "@svta/cml-utils",
    "eventemitter3",
    "url-toolkit",
  ],
};

interface Manifest {
  name: string;
  version: string;
  license?: string;
}

function packageRoot(moduleId: string): string | null {
  const clean = moduleId.replace(/^\0/, "").split("?")[0] ?? "";
  if (!clean.includes("/node_modules/")) return null;
  for (let folder = dirname(clean); !folder.endsWith("node_modules"); folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    // Inner package.json files only switch the module type; they carry no name.
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name) return folder;
  }
  return null;
}

function entry(root: string): string {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  const texts = readdirSync(root)
    .filter((name) => /^(licen[cs]e|notice|copying)/i.test(name))
    .sort()
    .map((name) => readFileSync(join(root, name), "utf8").trim());
  if (texts.length === 0) throw new Error(`${manifest.name} is bundled but ships no licence text`);
  return `${manifest.name} ${manifest.version}\nLicence: ${manifest.license ?? "see below"}\n\n${texts.join("\n\n")}\n`;
}

export function licenses(nodeModules: string, fileName: string): Plugin {
  return {
    name: "vitrina-licenses",
    apply: "build",
    generateBundle(_options, bundle) {
      const roots = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        for (const id of Object.keys(chunk.modules)) {
          const root = packageRoot(id);
          if (root) roots.add(root);
        }
      }
      for (const [owner, inner] of Object.entries(BUNDLED_INSIDE)) {
        if (roots.has(join(nodeModules, owner))) {
          for (const name of inner) roots.add(join(nodeModules, name));
        }
      }
      const rule = `\n${"-".repeat(78)}\n\n`;
      const source = [
        "This part of Vitrina contains code of the packages below.\n",
        ...[...roots].sort().map(entry),
      ].join(rule);
      this.emitFile({ type: "asset", fileName, source });
    },
  };
}

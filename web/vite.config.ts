import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { licenses } from "./plugins/licenses.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * `vite build` makes the player, `vite build --mode publish` the publish page, each on its own: in one
 * build they would share a chunk, and every shop would wait for one request more before the player runs.
 */
export default defineConfig(({ mode }) => {
  const publish = mode === "publish";
  return {
    base: "./",
    publicDir: false,
    plugins: [licenses(at("./node_modules"), publish ? "PUBLISH_LICENSES.txt" : "THIRD_PARTY_LICENSES.txt")],
    build: {
      outDir: "../delivery/static",
      emptyOutDir: !publish,
      target: "es2022",
      sourcemap: false,
      modulePreload: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 800,
      rolldownOptions: {
        input: at(publish ? "./src/publish/index.ts" : "./src/index.ts"),
        output: {
          // The pages and every embedding shop load these exact names.
          entryFileNames: publish ? "vitrina-publish.js" : "vitrina-player.js",
          chunkFileNames: "[name]-[hash].js",
        },
      },
    },
  };
});

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { licenses } from "./plugins/licenses.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  base: "./",
  publicDir: false,
  plugins: [licenses(at("./node_modules"))],
  build: {
    outDir: "../delivery/static",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    modulePreload: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 800,
    rolldownOptions: {
      input: at("./src/index.ts"),
      // The page and every embedding shop load this exact name.
      output: { entryFileNames: "vitrina-player.js", chunkFileNames: "[name]-[hash].js" },
    },
  },
});

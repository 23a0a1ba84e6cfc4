import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The console's own address while developing: LOOPLINE_CONSOLE=http://127.0.0.1:8094 npm run dev
const CONSOLE = process.env.LOOPLINE_CONSOLE ?? "http://127.0.0.1:8094";

export default defineConfig({
  base: "/static/",
  plugins: [react()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the Content-Security-Policy knows no data: scripts or fonts
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": CONSOLE } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
